/* What an operator must know about this module: few lines, to syslog. */
#ifndef THSM_LOG_H
#define THSM_LOG_H

/*
 * One line to syslog, and to the terminal of a program that runs in its foreground; with THSM_PKCS11_DEBUG to stderr
 * alone. Never pass a PIN or a ticket.
 */
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
