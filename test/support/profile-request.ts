// Orders to profile, as the front end sends them to a rank.
import type { ProfileRequest } from '#vitrine/messages/profile.js';

let last = 0;

export function profileRequest(outputDir: string, given: Partial<ProfileRequest> = {}): ProfileRequest {
  last += 1;
  return {
    profileId: `1769071195.${last}`,
    outputDir,
    prefix: '',
    activities: ['CPU', 'GPU'],
    startStep: null,
    startIn: null,
    numSteps: null,
    stages: null,
    withStack: false,
    recordShapes: true,
    maxSeconds: 600,
    maxBytes: 2 ** 31,
    ...given,
  };
}
