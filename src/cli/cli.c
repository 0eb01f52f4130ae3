/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * SECURITY. The command line runs with the rights of the volunteer who types. It reads what he types, HOME/cohue.conf, what the
 * service answers on HOME/control.sock, and (`check`, with the service stopped) the store, whose content strangers
 * wrote: there it uses the same bounded readers as the roles. Passwords come from the terminal or
 * standard input, never from arguments, which everybody on the machine can see. One table drives all commands and the help.
 */
#include "cli/cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/internal.h"

/* The options that commands can have; `where` is the field that it fills. */
enum option {
	O_DOMAIN = 1 << 0,
	O_HOSTNAME = 1 << 1,
	O_KEY = 1 << 2,
	O_OFFSET = 1 << 3,
	O_LABEL = 1 << 4,
	O_QUOTA = 1 << 5,
	O_MEMBER = 1 << 6,
	O_PASSWORD = 1 << 7,
	O_MAN = 1 << 8,
	O_YES = 1 << 9,
	O_JSON = 1 << 10,
	O_HOME = 1 << 11,
	O_OWN = 1 << 12, /* all but --home and --json are words: the command reads its own options */
};

static const struct {
	enum option option;
	const char *name;
	size_t text;   /* offset of a const char *, where it takes a value */
	size_t toggle; /* offset of a bool otherwise */
} options[] = {
    {O_DOMAIN, "--domain", offsetof(struct cli, domain), 0},
    {O_HOSTNAME, "--hostname", offsetof(struct cli, hostname), 0},
    {O_KEY, "--key", offsetof(struct cli, key), 0},
    {O_OFFSET, "--port-offset", offsetof(struct cli, port_offset), 0},
    {O_LABEL, "--label", offsetof(struct cli, label), 0},
    {O_QUOTA, "--quota", offsetof(struct cli, quota), 0},
    {O_MEMBER, "--member", offsetof(struct cli, member), 0},
    {O_HOME, "--home", SIZE_MAX, 0},
    {O_PASSWORD, "--password", 0, offsetof(struct cli, password)},
    {O_MAN, "--man", 0, offsetof(struct cli, man)},
    {O_YES, "--yes", 0, offsetof(struct cli, yes)},
    {O_JSON, "--json", 0, offsetof(struct cli, json)},
};

static const struct command {
	const char *group; /* "member" of `cohue member add`; NULL: one word */
	const char *name;
	const char *usage; /* what follows it */
	const char *help;
	unsigned options; /* besides --home */
	size_t words_min;
	size_t words_max;
	cli_fn *fn;
} commands[] = {
    {NULL, "init", "--domain D [--hostname H] [--home DIR] [--key FILE] [--port-offset N]",
     "make a home: configuration, keys, a self-signed certificate; print the DNS records",
     O_DOMAIN | O_HOSTNAME | O_KEY | O_OFFSET | O_JSON, 0, 0, cli_init},
    {NULL, "run", "[--set KEY=VALUE]...", "run the service in the foreground", 0, 0, 0, NULL},
    {NULL, "status", "", "what runs, and coarse sums", O_JSON, 0, 0, cli_status},
    {NULL, "stop", "", "stop the service", 0, 0, 0, cli_stop},
    {NULL, "dns", "", "the DNS records to publish", O_JSON, 0, 0, cli_dns},
    {NULL, "doctor", "",
     "is the house well, as others see it and on its machine? Each finding with its remedy", O_JSON, 0, 0,
     cli_doctor},
    {"dkim", "rotate", "", "make the next DKIM keys: publish their records; they sign after dkim.overlap",
     O_JSON, 0, 0, cli_dkim_rotate},
    {"dkim", "activate", "", "let the next DKIM keys sign at once", O_JSON, 0, 0, cli_dkim_activate},
    {NULL, "dkim", "", "the DKIM keys: what each is good for, and its records", O_JSON, 0, 0, cli_dkim},
    {NULL, "check", "[--member NAME]",
     "verify what is stored, with the service stopped; with a member's password, her mail too",
     O_MEMBER | O_JSON, 0, 0, cli_check},
    {NULL, "restored", "",
     "after an older copy of the store was put back, before the start: mail programs then read all anew", 0,
     0, 0, cli_restored},
    {NULL, "journal", "NAME", "what became of a member's letters, for her password", O_JSON, 1, 1,
     cli_journal},
    {NULL, "reports", "", "what others report about the house: DMARC, TLS, complaints; coarse sums", O_JSON,
     0, 0, cli_reports},
    {NULL, "config", "[--man]", "all keys of the configuration with their meaning", O_MAN, 0, 0,
     cli_config_show},
    {"tls", "reload", "", "take changed TLS keys and certificates; connections go on", 0, 0, 0,
     cli_tls_reload},
    {"tls", "renew", "", "get new certificates of the authority now (acme); connections go on", 0, 0, 0,
     cli_tls_renew},
    {NULL, "tls", "", "the certificates: names, issuer, days left, who renews them", O_JSON, 0, 0, cli_tls},
    {"member", "add", "NAME [--quota SIZE] [--password]",
     "a new member: prints an application password, a recovery code, and how to set a client up",
     O_QUOTA | O_PASSWORD | O_JSON, 1, 1, cli_member_add},
    {"member", "list", "", "all members", O_JSON, 0, 0, cli_member_list},
    {"member", "passwd", "NAME", "set her main password (asks for a present password or code)", 0, 1, 1,
     cli_member_passwd},
    {"member", "app-password", "NAME [--label TEXT]", "a new application password", O_LABEL | O_JSON, 1, 1,
     cli_member_app_password},
    {"member", "app-list", "NAME", "her passwords and codes", O_JSON, 1, 1, cli_member_app_list},
    {"member", "app-drop", "NAME NUMBER", "end a password; a new key generation begins", 0, 2, 2,
     cli_member_app_drop},
    {"member", "recovery", "NAME", "a new recovery code; the old one ends", O_JSON, 1, 1,
     cli_member_recovery},
    {"member", "suspend", "NAME", "no login any more; mail still arrives", 0, 1, 1, cli_member_suspend},
    {"member", "resume", "NAME", "end of the suspension; and she may send again, where that was held", 0, 1,
     1, cli_member_resume},
    {"member", "quota", "NAME SIZE", "her space: 5GiB, or none for no limit", 0, 2, 3, cli_member_quota},
    {"member", "limit", "NAME TIMES|usual|none",
     "she may send so many times what the configuration allows (a newsletter), or without limit", 0, 2, 2,
     cli_member_limit},
    {"member", "forward", "NAME ADDRESS...|none",
     "a copy of her mail goes to up to five addresses elsewhere (asks for her password); none: ends it", 0, 2,
     6, cli_member_forward},
    {"member", "lane", "NAME normal|urgent|patient", "how her letters wait where they do not say it", 0, 2, 2,
     cli_member_lane},
    {"member", "remove", "NAME [--yes]", "delete a member and her mail", O_YES, 1, 1, cli_member_remove},
    {"alias", "set", "ADDRESS MEMBER...", "an address of one member, or of several", 0, 2, CLI_WORDS_MAX - 1,
     cli_alias_set},
    {"alias", "remove", "ADDRESS", "end of an alias", 0, 1, 1, cli_alias_remove},
    {"alias", "list", "", "all aliases", O_JSON, 0, 0, cli_alias_list},
    {"crowd", "table",
     "[--members LIST] [--rates LIST] [--clocks LIST] [--crowd K] [--format text|csv|json|svg]",
     "how well any law can hide, from theory", O_OWN | O_JSON, 0, CLI_WORDS_MAX, cli_crowd_table},
    {"crowd", "simulate",
     "--trace FILE | --members N [--rate R] [--days D] [--law L] [--clock T] [--crowd K] ...",
     "the server's own law in virtual time, against the best observer", O_OWN | O_JSON, 0, CLI_WORDS_MAX,
     cli_crowd_simulate},
    {"crowd", "advise", "--members N [--rate R] [--wait MINUTES] [--alliance HOUSES] | --live",
     "which clock and crowd; what size hides, and when it draws attention", O_OWN | O_JSON, 0, CLI_WORDS_MAX,
     cli_crowd_advise},
    {"crowd", "live", "", "how well the running service hid, in coarse sums", O_OWN | O_JSON, 0,
     CLI_WORDS_MAX, cli_crowd_live},
    {"crowd", "report", "[--out DIR] [--trace FILE]", "all of it as one page with plots: DIR/crowd.md", O_OWN,
     0, CLI_WORDS_MAX, cli_crowd_report},
};

enum { COMMANDS = sizeof(commands) / sizeof(commands[0]), OPTIONS = sizeof(options) / sizeof(options[0]) };

int
cli_fail(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	(void)fputs("cohue: ", stderr);
	(void)vfprintf(stderr, format, args);
	(void)fputc('\n', stderr);
	va_end(args);
	return CLI_FAILED;
}

int
cli_print(struct buf *out)
{
	bool good = out->len == 0 || fwrite(out->ptr, 1, out->len, stdout) == out->len;
	good = fflush(stdout) == 0 && good;
	buf_wipe(out);
	return good ? CLI_OK
		    : cli_fail("standard output cannot be written. Remedy: free space, or another place");
}

static void
print_command(FILE *to, const struct command *k)
{
	(void)fprintf(to, "  cohue %s%s%s%s%s\n      %s\n", k->group == NULL ? "" : k->group,
		      k->group == NULL ? "" : " ", k->name, k->usage[0] == '\0' ? "" : " ", k->usage,
		      k->help);
}

static void
print_usage(FILE *to)
{
	(void)fputs("usage: cohue COMMAND [--home DIR] [--json] ...\n\n", to);
	for (size_t i = 0; i < COMMANDS; i++) {
		print_command(to, &commands[i]);
	}
	(void)fputs("\n--home DIR   the home directory (default: COHUE_HOME, or /var/lib/cohue)\n"
		    "--json       for programs; for all that print data\n"
		    "--version    prints the program's version\n"
		    "Secrets are asked for, or read from standard input line by line, never from arguments.\n"
		    "Exit status: 0 done, 1 failed, 2 not understood. See cohue(1), cohue.conf(5).\n",
		    to);
}

static int
usage_of(const struct command *k, const char *what, const char *which)
{
	(void)fprintf(stderr, "cohue: %s%s%s\nusage: cohue %s%s%s %s\n", what, which[0] == '\0' ? "" : ": ",
		      which, k->group == NULL ? "" : k->group, k->group == NULL ? "" : " ", k->name,
		      k->usage);
	return CLI_USAGE;
}

/* The option of that name, also as "--name=value"; OPTIONS where there is none. */
static size_t
option_of(const char *word, const char **ret_value)
{
	for (size_t i = 0; i < OPTIONS; i++) {
		size_t n = strlen(options[i].name);
		if (strncmp(word, options[i].name, n) == 0 && (word[n] == '\0' || word[n] == '=')) {
			*ret_value = word[n] == '=' ? word + n + 1 : NULL;
			return i;
		}
	}
	return OPTIONS;
}

static int
read_words(const struct command *k, int argc, char **argv, struct cli *c)
{
	bool only_words = false;
	for (int i = 0; i < argc; i++) {
		const char *value = NULL;
		if (!only_words && strcmp(argv[i], "--") == 0) {
			only_words = true;
			continue;
		}
		if (only_words || strncmp(argv[i], "--", 2) != 0) {
			if (c->word_count == k->words_max) {
				return usage_of(k, "too many words", argv[i]);
			}
			c->words[c->word_count++] = argv[i];
			continue;
		}
		size_t o = option_of(argv[i], &value);
		if ((k->options & O_OWN) != 0 &&
		    (o == OPTIONS || (options[o].option & (O_HOME | O_JSON)) == 0)) {
			if (c->word_count == k->words_max) {
				return usage_of(k, "too many words", argv[i]);
			}
			c->words[c->word_count++] = argv[i];
			continue;
		}
		if (o == OPTIONS || (options[o].option != O_HOME && (k->options & options[o].option) == 0)) {
			return usage_of(k, "unknown option", argv[i]);
		}
		if (options[o].text == 0 && options[o].toggle != 0) {
			if (value != NULL) {
				return usage_of(k, "this option takes no value", options[o].name);
			}
			*(bool *)((char *)c + options[o].toggle) = true;
			continue;
		}
		if (value == NULL && ++i < argc) {
			value = argv[i];
		}
		if (value == NULL || value[0] == '\0') {
			return usage_of(k, "this option needs a value", options[o].name);
		}
		if (options[o].option == O_HOME) {
			c->home = value;
		} else {
			memcpy((char *)c + options[o].text, &value, sizeof(value));
		}
	}
	return c->word_count < k->words_min ? usage_of(k, "something is missing", "") : CLI_OK;
}

static const struct command *
find_command(int argc, char **argv, int *ret_used)
{
	for (size_t i = 0; i < COMMANDS; i++) {
		const struct command *k = &commands[i];
		if (k->group == NULL && argc > 1 && strcmp(argv[1], k->name) == 0) {
			*ret_used = 2;
			return k;
		}
		if (k->group != NULL && argc > 2 && strcmp(argv[1], k->group) == 0 &&
		    strcmp(argv[2], k->name) == 0) {
			*ret_used = 3;
			return k;
		}
	}
	return NULL;
}

static bool
is_help(const char *word)
{
	return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* The help of one command, or of a group ("member"). False: there is neither. */
static bool
print_help_of(int argc, char **argv)
{
	int used = 0;
	const struct command *k = find_command(argc, argv, &used);
	bool found = k != NULL;
	if (k != NULL) {
		print_command(stdout, k);
	}
	for (size_t i = 0; k == NULL && i < COMMANDS && is_help(argv[2]); i++) {
		if (commands[i].group != NULL && strcmp(commands[i].group, argv[1]) == 0) {
			print_command(stdout, &commands[i]);
			found = true;
		}
	}
	return found;
}

int
cli_main(int argc, char **argv)
{
	int used = 0;
	if (argc > 1 && (strcmp(argv[1], "help") == 0 || is_help(argv[1]))) {
		print_usage(stdout);
		return CLI_OK;
	}
	if (argc == 2 && (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "version") == 0)) {
		return puts("cohue " COHUE_VERSION) >= 0 && fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
	}
	for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (is_help(argv[i]) && print_help_of(argc, argv)) {
			return CLI_OK;
		}
	}
	const struct command *k = find_command(argc, argv, &used);
	if (k == NULL || k->fn == NULL) {
		if (argc > 1) {
			(void)fprintf(stderr, "cohue: there is no command '%s%s%s'. Remedy: `cohue help`\n",
				      argv[1], argc > 2 ? " " : "", argc > 2 ? argv[2] : "");
		} else {
			print_usage(stderr);
		}
		return CLI_USAGE;
	}
	struct cli *c = calloc(1, sizeof(*c));
	if (c == NULL) {
		return cli_fail("out of memory");
	}
	const char *home = getenv("COHUE_HOME");
	c->home = home != NULL && home[0] != '\0' ? home : "/var/lib/cohue";
	int status = read_words(k, argc - used, argv + used, c);
	if (status == CLI_OK) {
		status = k->fn(c);
	}
	free(c);
	return status;
}
