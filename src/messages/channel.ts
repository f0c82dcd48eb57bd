// The two-way pipe between front end and scheduler. LocalChannel joins objects of one process, SocketChannel two processes.
import type { ControlReply, ControlRequest } from './control.js';
import type { OutputsMessage } from './outputs.js';
import type { AbortMessage, GenerateMessage } from './requests.js';

export type SchedulerMessage = GenerateMessage | AbortMessage | ControlRequest;
export type FrontendMessage = OutputsMessage | ControlReply;

/** Messages arrive in the order sent, never synchronously inside `send`. */
export interface Channel<Out, In> {
  send(message: Out): void;
  /** One listener; messages that come before it is set are kept. */
  onMessage(listener: (message: In) => void): void;
  /** Called once, when the other side is gone. */
  onClose(listener: () => void): void;
  close(): void;
}

export type FrontendChannel = Channel<SchedulerMessage, FrontendMessage>;
export type SchedulerChannel = Channel<FrontendMessage, SchedulerMessage>;
