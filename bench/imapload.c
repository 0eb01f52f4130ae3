/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * IMAP over implicit TLS. Accounts come as lines "name password" on standard input's first part, up to an
 * empty line.
 *   imapload HOST PORT idle N        N connections, accounts in turn, each in IDLE; says "ready", holds them
 *                                    until standard input ends
 *   imapload HOST PORT handshake N   N connections with a TLS handshake and a greeting each
 *   imapload HOST PORT login N       the same with a login each
 *   imapload HOST PORT run COMMAND.. one connection of the first account, one JSON line a command
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "client.h"

enum { ACCOUNTS_MAX = 2000 };
static struct account {
	char name[512], password[512];
} accounts[ACCOUNTS_MAX];
static size_t n_accounts;

static void
read_accounts(void)
{
	char line[512];
	while (n_accounts < ACCOUNTS_MAX && fgets(line, sizeof(line), stdin) != NULL && line[0] != '\n') {
		char *space = strchr(line, ' ');
		char *end = strchr(line, '\n');
		if (space == NULL || end == NULL || end < space) {
			die("an account is 'name password'");
		}
		*space = '\0';
		*end = '\0';
		struct account *a = &accounts[n_accounts++];
		(void)snprintf(a->name, sizeof(a->name), "%s", line);
		(void)snprintf(a->password, sizeof(a->password), "%s", space + 1);
	}
	if (n_accounts == 0) {
		die("no account");
	}
}

static void
greet(struct client *c, const char *host, const char *port, SSL_CTX *context)
{
	client_open(c, host, port);
	client_start_tls(c, context);
	if (strncmp(client_line(c), "* OK", 4) != 0) {
		die("no greeting");
	}
}

static void
login(struct client *c, size_t i)
{
	const struct account *a = &accounts[i % n_accounts];
	client_say(c, "l LOGIN \"%s\" \"%s\"\r\n", a->name, a->password);
	client_until(c, "l", NULL);
}

static void
hold(const char *host, const char *port, SSL_CTX *context, size_t n)
{
	struct client *clients = calloc(n, sizeof(*clients));
	if (clients == NULL) {
		die("no memory");
	}
	for (size_t i = 0; i < n; i++) {
		greet(&clients[i], host, port, context);
		login(&clients[i], i);
		client_say(&clients[i], "s SELECT INBOX\r\n");
		client_until(&clients[i], "s", NULL);
		client_say(&clients[i], "i IDLE\r\n");
		while (client_line(&clients[i])[0] != '+') {
		}
		client_idle(&clients[i]);
	}
	(void)printf("ready\n");
	(void)fflush(stdout);
	while (fgetc(stdin) != EOF) {
	}
	for (size_t i = 0; i < n; i++) {
		client_close(&clients[i]);
	}
	free(clients);
}

int
main(int argc, char **argv)
{
	if (argc < 5) {
		die("usage: imapload HOST PORT idle|handshake|login|run ...");
	}
	const char *host = argv[1], *port = argv[2], *mode = argv[3];
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	read_accounts();
	SSL_CTX *context = client_context();
	if (strcmp(mode, "run") == 0) {
		struct client c;
		greet(&c, host, port, context);
		double start = seconds_now();
		login(&c, 0);
		(void)printf("{\"command\": \"LOGIN\", \"seconds\": %.4f}\n", seconds_now() - start);
		for (int i = 4; i < argc; i++) {
			/* A tag that no message of ours contains at the head of a line. */
			uint64_t bytes = 0;
			start = seconds_now();
			client_say(&c, "zq7x%d %s\r\n", i, argv[i]);
			char tag[32];
			(void)snprintf(tag, sizeof(tag), "zq7x%d", i);
			client_until(&c, tag, &bytes);
			(void)printf("{\"command\": \"%s\", \"seconds\": %.4f, \"bytes\": %" PRIu64 "}\n",
				     argv[i], seconds_now() - start, bytes);
			(void)fflush(stdout);
		}
		client_close(&c);
	} else {
		size_t n = strtoul(argv[4], NULL, 10);
		if (n == 0 || n > 100000) {
			die("out of range");
		}
		if (strcmp(mode, "idle") == 0) {
			hold(host, port, context, n);
		} else {
			double start = seconds_now();
			for (size_t i = 0; i < n; i++) {
				struct client c;
				greet(&c, host, port, context);
				if (strcmp(mode, "login") == 0) {
					login(&c, i);
				}
				client_close(&c);
			}
			(void)printf("{\"count\": %zu, \"seconds\": %.4f}\n", n, seconds_now() - start);
		}
	}
	SSL_CTX_free(context);
	return 0;
}
