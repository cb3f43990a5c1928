/* What all operations with a key have in common: the key, the mechanism and the data so far. */
#ifndef THSM_OPERATION_H
#define THSM_OPERATION_H

#include "session.h"
#include "token.h"
#include "wire.h"

/* C_SignInit and its like, for CKF_SIGN, CKF_VERIFY, CKF_ENCRYPT or CKF_DECRYPT. */
CK_RV operation_start(CK_SESSION_HANDLE handle, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key, CK_FLAGS purpose);
struct operation *operation_of(struct session *session, CK_FLAGS purpose);
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
