/* What signing and verifying have in common: the key, the mechanism and the data so far. */
#ifndef THSM_OPERATION_H
#define THSM_OPERATION_H

#include "session.h"
#include "token.h"
#include "wire.h"

/* Sets the operation up for `purpose`, CKF_SIGN or CKF_VERIFY. Within module_enter(). */
CK_RV operation_init(struct operation *operation, const struct token *token, const CK_MECHANISM *mechanism,
                     const struct object *key, CK_FLAGS purpose);
/*
 * C_SignUpdate and C_VerifyUpdate, within module_enter(); leaves. An error ends the operation.
 */
CK_RV operation_update(struct session *session, CK_FLAGS purpose, const uint8_t *part, size_t size);
/* Takes more of the document; CKR_DATA_LEN_RANGE when a mechanism without a hash gets too much. */
CK_RV operation_feed(struct operation *operation, const uint8_t *data, size_t size);
/* Ends the document: afterwards `data` holds what goes to the daemon. */
CK_RV operation_close(struct operation *operation);
/* Mechanism, hash, salt and data, as SIGN and VERIFY send them. */
void operation_write(const struct operation *operation, struct writer *body);

#endif
