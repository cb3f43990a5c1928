#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char default_path[] = "/etc/thsm/pkcs11.conf";

enum { TIMEOUT_MAX_S = 3600, KEYGEN_TIMEOUT_MAX_S = 86400 };

static char *trim(char *text)
{
  while (isspace((unsigned char)*text)) text++;
  size_t length = strlen(text);
  while (length > 0 && isspace((unsigned char)text[length - 1])) text[--length] = '\0';
  return text;
}

static bool parse_seconds(const char *text, unsigned max_s, unsigned *milliseconds)
{
  char *end = NULL;
  errno = 0;
  unsigned long seconds = strtoul(text, &end, 10);
  if (!isdigit((unsigned char)text[0]) || errno != 0 || *end != '\0') return false;
  if (seconds < 1 || seconds > max_s) return false;
  *milliseconds = (unsigned)seconds * 1000;
  return true;
}

/* The label travels in pkcs11: URIs, file names and log lines, so it is kept plain. */
static bool add_token(struct config *config, const char *label)
{
  size_t length = strlen(label);
  if (length < 1 || length > CONFIG_LABEL_MAX || config->token_count == CONFIG_TOKENS_MAX) return false;
  for (size_t i = 0; i < length; i++) {
    if (!isalnum((unsigned char)label[i]) && strchr("._-", label[i]) == NULL) return false;
  }
  for (size_t i = 0; i < config->token_count; i++) {
    if (strcmp(config->tokens[i], label) == 0) return false;
  }
  memcpy(config->tokens[config->token_count++], label, length + 1);
  return true;
}

static bool set_socket(struct config *config, const char *path)
{
  size_t length = strlen(path);
  if (path[0] != '/' || length > CONFIG_SOCKET_MAX) return false;
  memcpy(config->socket, path, length + 1);
  return true;
}

static bool apply(struct config *config, const char *key, const char *value)
{
  if (strcmp(key, "socket") == 0) return set_socket(config, value);
  if (strcmp(key, "token") == 0) return add_token(config, value);
  if (strcmp(key, "timeout") == 0) return parse_seconds(value, TIMEOUT_MAX_S, &config->timeout_ms);
  if (strcmp(key, "keygen-timeout") == 0) {
    return parse_seconds(value, KEYGEN_TIMEOUT_MAX_S, &config->keygen_timeout_ms);
  }
  return false;
}

static bool parse_file(struct config *config, FILE *file, const char *path, char *why, size_t why_size)
{
  char line[512];
  for (unsigned number = 1; fgets(line, sizeof line, file) != NULL; number++) {
    char *text = trim(line);
    if (text[0] == '\0' || text[0] == '#') continue;
    char *equals = strchr(text, '=');
    if (equals != NULL) *equals = '\0';
    if (equals == NULL || !apply(config, trim(text), trim(equals + 1))) {
      (void)snprintf(why, why_size, "%s line %u is not a known setting with a valid value", path, number);
      return false;
    }
  }
  if (ferror(file) != 0 || config->socket[0] == '\0' || config->token_count == 0) {
    (void)snprintf(why, why_size, "%s must name a socket and at least one token", path);
    return false;
  }
  return true;
}

bool config_load(struct config *config, char *why, size_t why_size)
{
  memset(config, 0, sizeof *config);
  config->timeout_ms = 30 * 1000;
  config->keygen_timeout_ms = 600 * 1000;

  /* secure_getenv: a set-uid program must not be sent to somebody else's socket. */
  const char *path = secure_getenv("THSM_PKCS11_CONF");
  if (path == NULL || path[0] == '\0') path = default_path;
  FILE *file = fopen(path, "re");
  if (file == NULL) {
    (void)snprintf(why, why_size, "cannot open %s: %s", path, strerror(errno));
    return false;
  }
  bool good = parse_file(config, file, path, why, why_size);
  (void)fclose(file);

  const char *timeout = secure_getenv("THSM_PKCS11_TIMEOUT");
  if (good && timeout != NULL && !parse_seconds(timeout, TIMEOUT_MAX_S, &config->timeout_ms)) {
    (void)snprintf(why, why_size, "THSM_PKCS11_TIMEOUT must be 1 to %d seconds", TIMEOUT_MAX_S);
    good = false;
  }
  if (!good) config->token_count = 0;
  return good;
}
