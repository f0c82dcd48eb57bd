// What a client asks of /start_profile, and the body it becomes.

export interface ProfileSettings {
  /** On the server’s machine; undefined: the server’s default. */
  readonly outputDir?: string | undefined;
  /** undefined: until stopped. */
  readonly numSteps?: number | undefined;
  /** Forward step, counted since the server’s start; or steps to let pass before the first. */
  readonly startStep?: number | undefined;
  readonly startIn?: number | undefined;
  readonly activities: readonly string[];
  readonly profileByStage: boolean;
  readonly profileStages?: readonly string[] | undefined;
  readonly profilePrefix?: string | undefined;
  readonly mergeProfiles?: boolean;
  /** Left out where true: that is the servers’ default, which their environment may overrule. */
  readonly withStack?: boolean;
  readonly recordShapes?: boolean;
  readonly maxSeconds?: number | undefined;
  readonly maxBytes?: number | undefined;
}

/** SGLang’s fields, and those of ours that were asked for: older servers know nothing of them. */
export function profileBody(settings: ProfileSettings): Record<string, unknown> {
  const { outputDir, numSteps, activities, profileByStage, mergeProfiles, profilePrefix } = settings;
  const body: Record<string, unknown> = {
    output_dir: outputDir,
    num_steps: numSteps,
    activities,
    profile_by_stage: profileByStage,
    merge_profiles: mergeProfiles,
    profile_prefix: profilePrefix,
    start_step: settings.startStep,
    start_in: settings.startIn,
    profile_stages: settings.profileStages,
    with_stack: settings.withStack === false ? false : undefined,
    record_shapes: settings.recordShapes === false ? false : undefined,
    max_seconds: settings.maxSeconds,
    max_bytes: settings.maxBytes,
  };
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined));
}
