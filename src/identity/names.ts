/** @module Which names can be subject tokens, file names and TOML keys at once. */

/** Members, tokens, sessions and request ids. */
export const memberName: RegExp = /^[A-Za-z0-9_-]{1,64}$/;

/** NATS user NKeys (the key that logs in, not the identity key). */
export const userNKey: RegExp = /^U[A-Z2-7]{55}$/;
