#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>

void log_line(const char *format, ...)
{
  char line[512];
  va_list arguments;
  va_start(arguments, format);
  (void)vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);

  if (secure_getenv("THSM_PKCS11_DEBUG") != NULL) {
    (void)fprintf(stderr, "thsm-pkcs11: %s\n", line);
    return;
  }
  /* No openlog(): its settings belong to the application. */
  syslog(LOG_DAEMON | LOG_WARNING, "thsm-pkcs11: %s", line);
}
