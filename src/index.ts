/** @module The package's public API: the client's face and the errors that its calls end in. */
export * from "./client/index.js";
export { HsmError, InvalidSignatureShareError, QuorumError, type HsmErrorCode } from "./errors.js";
