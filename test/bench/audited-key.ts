/** @module The key of the histories that `bench:audit` makes, and of the cluster that they are from. */
export const auditedKey = { modulusBits: 2048, parties: 5, threshold: 3 } as const;
