/* The module's configuration file: `key = value` lines. */
#ifndef THSM_CONFIG_H
#define THSM_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

enum {
  CONFIG_TOKENS_MAX = 64,
  CONFIG_LABEL_MAX = 32,  /* CK_TOKEN_INFO.label */
  CONFIG_SOCKET_MAX = 107 /* sockaddr_un.sun_path less its NUL */
};

struct config {
  char socket[CONFIG_SOCKET_MAX + 1];
  unsigned timeout_ms;
  unsigned keygen_timeout_ms;
  size_t token_count;
  char tokens[CONFIG_TOKENS_MAX][CONFIG_LABEL_MAX + 1];
};

/*
 * Fills `config` from $THSM_PKCS11_CONF or /etc/thsm/pkcs11.conf. False when the file is missing
 * or wrong: then `why` says so in one sentence and `config` has no tokens.
 */
bool config_load(struct config *config, char *why, size_t why_size);

#endif
