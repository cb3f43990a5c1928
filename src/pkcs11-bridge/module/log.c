#include "log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>
#include <unistd.h>

/* A person sits there and waits for this program; a daemon's log, a file or a background job is never written to. */
static bool is_watched(void)
{
  struct pollfd terminal = {.fd = STDERR_FILENO, .events = POLLOUT};
  /* One that takes nothing now, as after Ctrl-S, must not hold up a call. */
  return isatty(STDERR_FILENO) == 1 && tcgetpgrp(STDERR_FILENO) == getpgrp() && poll(&terminal, 1, 0) == 1 &&
         terminal.revents == POLLOUT;
}

void log_line(const char *format, ...)
{
  char line[512];
  va_list arguments;
  va_start(arguments, format);
  (void)vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);

  bool is_debugged = secure_getenv("THSM_PKCS11_DEBUG") != NULL;
  /* Not through stdio: the application may hold its lock. */
  if (is_debugged || is_watched()) (void)dprintf(STDERR_FILENO, "thsm-pkcs11: %s\n", line);
  /* No openlog(): its settings belong to the application. */
  if (!is_debugged) syslog(LOG_DAEMON | LOG_WARNING, "thsm-pkcs11: %s", line);
}
