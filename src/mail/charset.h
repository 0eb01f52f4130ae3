/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_MAIL_CHARSET_H
#define COHUE_MAIL_CHARSET_H

#include "base/bytes.h"

/*
 * Character sets to UTF-8. US-ASCII, UTF-8, ISO-8859-1 and windows-1252 are
 * built in; the others come from iconv, whose tables are files: a sandboxed
 * role calls mail_charset_preload() before its root is emptied.
 */

/* Opens the common converters and keeps them. Once per process; what can't be opened stays unknown. */
void mail_charset_preload(void);
/* Closes them (for leak checkers). */
void mail_charset_unload(void);
/*
 * Appends text in UTF-8; octets that are wrong in the charset become U+FFFD.
 * Names have at most 40 octets, aliases are known. ERR_UNSUPPORTED for an
 * unknown charset, nothing appended then.
 */
COHUE_MUST_USE enum err mail_charset_to_utf8(struct bytes charset, struct bytes text, struct buf *out);
/* True where mail_charset_to_utf8 knows the charset (SEARCH CHARSET). */
bool mail_charset_known(struct bytes charset);
/* True for those whose text holds NUL octets (UTF-16, UTF-32). */
bool mail_charset_is_wide(struct bytes charset);
/*
 * Appends a header text in UTF-8: unfolded, encoded words decoded (RFC 2047),
 * blanks between two of them dropped, octets above 127 kept where they are
 * UTF-8, else read as windows-1252. Unknown charsets leave the word as it is.
 */
COHUE_MUST_USE enum err mail_words_decode(struct bytes text, struct buf *out);

#endif
