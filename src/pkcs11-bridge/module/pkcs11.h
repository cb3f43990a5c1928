/* PKCS#11 v2.40 as Debian's libp11-kit-dev declares it, and what this module assumes of it. */
#ifndef THSM_PKCS11_H
#define THSM_PKCS11_H

#include <p11-kit/pkcs11.h>

/* Object handles carry 62 bits of a key's id and one of ours (object.h). */
_Static_assert(sizeof(CK_ULONG) == 8, "this module needs a 64-bit platform");

#endif
