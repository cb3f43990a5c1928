/* What an operator must know about this module: few lines, to syslog. */
#ifndef THSM_LOG_H
#define THSM_LOG_H

/* One line to syslog, or to stderr when THSM_PKCS11_DEBUG is set. Never pass a PIN or a ticket. */
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
