/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/privacy_names.h"

/*
 * docs/leaks.md says which program writes what of this. Names under X- are listed by how they begin: programs invent
 * new ones with each version, and none of these families says anything to a recipient.
 */

static const char *const hidden[] = {
    /* Who else reads it. */
    "Bcc",
    "Fcc",
    "Apparently-To",
    "Delivered-To",
    "Envelope-To",
    "Return-Path",
    "Original-Recipient",
    /* The way so far: there was none that is anybody's business; the house adds its own line. */
    "Received",
    "Received-SPF",
    "Authentication-Results",
    "ARC-Seal",
    "ARC-Message-Signature",
    "ARC-Authentication-Results",
    "Path",
    "NNTP-Posting-Host",
    "NNTP-Posting-Date",
    "Injection-Info",
    "Injection-Date",
    "Xref",
    "Originating-Client",
    "Delivery-Date",
    "Posted-Date",
    "Date-Received",
    /* A client's own signature over fields that change (Date at the least), with a time in it. */
    "DKIM-Signature",
    "DomainKey-Signature",
    /* When it was to go, or went. */
    "Deferred-Delivery",
    "Latest-Delivery-Time",
    "Sent-At",
    /* The program, and the language that it speaks. */
    "User-Agent",
    "Mailer",
    "Mail-Client",
    "Mail-System-Version",
    "Accept-Language",
    "Content-Language",
    "Thread-Index",
    "Thread-Topic",
    "Autocrypt-Draft-State",
    /* What chose the lane in the waiting room. */
    "Importance",
    "MT-Priority",
    "Priority",
    /* Marks of a mailbox. */
    "Status",
    "Content-Length",
    "Lines",
};

static const char *const hidden_beginnings[] = {
    "X-Abuse",       "X-Account",
    "X-Agent",       "X-Amavis",
    "X-Antivirus",   "X-Apple",
    "X-Atlas",       "X-Attachment-",
    "X-Auth",        "X-AV-",
    "X-Avast",       "X-Balsa",
    "X-Barracuda",   "X-Bcc",
    "X-Bogosity",    "X-Claws",
    "X-Client",      "X-CM-",
    "X-Composed",    "X-Coremail",
    "X-Correlation", "X-Country",
    "X-Cron",        "X-Date",
    "X-Delivered",   "X-Delivery",
    "X-Draft",       "X-Editor",
    "X-Enigmail",    "X-Envelope",
    "X-Evolution",   "X-Exchange",
    "X-FairEmail",   "X-FCC",
    "X-Forward",     "X-Geary",
    "X-Geo",         "X-Get-Message-Sender-Via",
    "X-GM-",         "X-GMX",
    "X-Gpg-Key",     "X-Gnus",
    "X-Google",      "X-Greylist",
    "X-Horde",       "X-Host",
    "X-HTTP",        "X-Identity",
    "X-IMAP",        "X-IP",
    "X-K9",          "X-Kerio",
    "X-Keywords",    "X-KMail",
    "X-Label",       "X-Local",
    "X-Location",    "X-Lotus",
    "X-Machine",     "X-Mail-Agent",
    "X-Mailbutler",  "X-Mailer",
    "X-Mailutils",   "X-Microsoft",
    "X-Mime",        "X-Mozilla",
    "X-MS-",         "X-MSMail",
    "X-Mu4e",        "X-Mutt",
    "X-MyMail",      "X-NAI-",
    "X-Newsreader",  "X-Nextcloud",
    "X-Notes",       "X-Notmuch",
    "X-Olk",         "X-Operating-System",
    "X-Orig",        "X-OS",
    "X-Outlook",     "X-PHP",
    "X-Platform",    "X-PM-",
    "X-Priority",    "X-Processed",
    "X-Proofpoint",  "X-Provags",
    "X-QQ",          "X-Queue",
    "X-Rainloop",    "X-RC-",
    "X-Readdle",     "X-Real",
    "X-Received",    "X-Remote",
    "X-Reply-UID",   "X-Report-Abuse",
    "X-Roundcube",   "X-Rspamd",
    "X-Sasl",        "X-Scan",
    "X-SeaMonkey",   "X-Send-",
    "X-Sender",      "X-Sent",
    "X-Sieve",       "X-Snappymail",
    "X-Source",      "X-Spam",
    "X-Spike",       "X-Squirrel",
    "X-Status",      "X-Sylpheed",
    "X-Template",    "X-Thread",
    "X-Time",        "X-Trace",
    "X-Trojita",     "X-TUID",
    "X-TZ",          "X-UI-",
    "X-UID",         "X-Uname",
    "X-Uniform",     "X-Universally",
    "X-Unsent",      "X-Uptime",
    "X-User",        "X-Virus",
    "X-Webmail",     "X-X-",
    "X-Ymail",       "X-Yahoo",
    "X-Zimbra",
};

/* RFC 5322 section 3.6.6, Reply-To being that of its section 4.5.6. */
static const char *const resent[] = {"Resent-From",     "Resent-Sender", "Resent-To",        "Resent-Cc",
				     "Resent-Reply-To", "Resent-Date",   "Resent-Message-ID"};

/* When a file was made and what it may do (RFC 2183, Apple Mail). */
static const char *const hidden_params[] = {
    "creation-date", "modification-date",    "read-date",        "x-unix-mode",       "x-mac-type",
    "x-mac-creator", "x-mac-hide-extension", "x-apple-part-url", "x-apple-mail-type", "x-moz-dom-id"};

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static bool
is_in(struct bytes name, const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (bytes_is_nocase(name, list[i])) {
			return true;
		}
	}
	return false;
}

bool
privacy_field_leaves(struct bytes name)
{
	if (!bytes_starts_with_nocase(name, "X-")) {
		return !is_in(name, hidden, COUNT(hidden));
	}
	for (size_t i = 0; i < COUNT(hidden_beginnings); i++) {
		if (bytes_starts_with_nocase(name, hidden_beginnings[i])) {
			return false;
		}
	}
	return true;
}

bool
privacy_resent_leaves(struct bytes name)
{
	return is_in(name, resent, COUNT(resent));
}

bool
privacy_param_leaves(struct bytes name)
{
	return !is_in(name, hidden_params, COUNT(hidden_params));
}

bool
privacy_part_field_leaves(struct bytes name, struct bytes value)
{
	/* In a part, fields that do not begin so mean nothing (RFC 2045 section 5). */
	if (!bytes_starts_with_nocase(name, "Content-") || !privacy_field_leaves(name)) {
		return false;
	}
	if (!bytes_is_nocase(name, "Content-Location") && !bytes_is_nocase(name, "Content-Base")) {
		return true;
	}
	/* Where it came from in the web is part of it; where it lay on a disk is not. */
	value = bytes_trim(value);
	ptrdiff_t colon = bytes_find(value, ':');
	return colon < 0
		   ? bytes_find(value, '/') != 0 && bytes_find(value, '\\') < 0
		   : bytes_starts_with_nocase(value, "http:") || bytes_starts_with_nocase(value, "https:") ||
			 bytes_starts_with_nocase(value, "cid:");
}
