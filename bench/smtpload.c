/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * Sends mail over N connections at once and prints one JSON line. Each connection is new, with a whole
 * TLS handshake behind STARTTLS, and carries M messages; MAIL, RCPT and DATA are pipelined, as MTAs do.
 */
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "client.h"

static struct {
	const char *host, *port, *domain, *file;
	unsigned long connections, messages, per_connection, users, size;
	bool lognormal, lmtp, clear;
} want = {.host = "127.0.0.1",
	  .port = "25",
	  .domain = "house.test",
	  .connections = 10,
	  .messages = 1000,
	  .per_connection = 1,
	  .users = 20,
	  .size = 4096};

static SSL_CTX *context;
static atomic_ulong next_message;
static atomic_ullong bytes_sent;
static float *latency;
static struct {
	char *octets; /* all of the file */
	struct {
		const char *at;
		size_t len;
	} * list;
	size_t count;
} ready;             /* messages to send as they are */
static char *filler; /* lines of plausible text, as much as the largest message */
enum { LARGEST = 4 << 20 };

/* Same sequence in each run: message i has the same size whoever sends it. */
static uint64_t
mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static double
uniform(uint64_t x)
{
	return ((double)(mix(x) >> 11) + 0.5) / 9007199254740992.0;
}

static size_t
size_of(unsigned long i)
{
	if (!want.lognormal) {
		return want.size;
	}
	/* sigma 1.3, mean 30 kB: median 12.9 kB, one in a hundred above 265 kB. */
	double normal = sqrt(-2.0 * log(uniform(2 * i))) * cos(6.283185307179586 * uniform(2 * i + 1));
	double size = exp(log(30000.0) - 1.3 * 1.3 / 2 + 1.3 * normal);
	return size < 1000 ? 1000 : size > LARGEST - 4096 ? LARGEST - 4096 : (size_t)size;
}

static void
make_filler(void)
{
	static const char words[] =
	    "minutes of the meeting were read and agreed the treasurer reports that the fund "
	    "for the garden stands as before next we speak about autumn and who brings cake ";
	filler = malloc(LARGEST);
	if (filler == NULL) {
		die("no memory");
	}
	uint64_t at = 0;
	for (size_t i = 0; i < LARGEST; i++) {
		if (i % 72 == 70) {
			filler[i] = '\r';
		} else if (i % 72 == 71) {
			filler[i] = '\n';
			at = mix(i);
		} else {
			filler[i] = words[at++ % (sizeof(words) - 1)];
		}
	}
	/* No line opens with a dot: nothing to stuff. */
}

/* A file of messages, each after a line with its length: sent in turn, unchanged, so that signatures fit. */
static void
read_messages(const char *path)
{
	FILE *f = fopen(path, "re");
	if (f == NULL || fseek(f, 0, SEEK_END) != 0) {
		die("no file of messages");
	}
	long size = ftell(f);
	rewind(f);
	ready.octets = size <= 0 ? NULL : malloc((size_t)size + 1);
	if (ready.octets == NULL || fread(ready.octets, 1, (size_t)size, f) != (size_t)size) {
		die("the file of messages cannot be read");
	}
	(void)fclose(f);
	ready.octets[size] = '\0';
	for (char *at = ready.octets; at < ready.octets + size;) {
		char *text = NULL;
		size_t len = strtoul(at, &text, 10);
		if (text == at || *text != '\n' || len < 2 ||
		    len > (size_t)(ready.octets + size - text - 1) || len > LARGEST || text[len] != '\n' ||
		    memmem(text + 1, len, "\n.", 2) != NULL) {
			die("the file of messages is malformed");
		}
		void *list = realloc(ready.list, (ready.count + 1) * sizeof(*ready.list));
		if (list == NULL) {
			die("no memory");
		}
		ready.list = list;
		ready.list[ready.count].at = text + 1;
		ready.list[ready.count++].len = len;
		at = text + 1 + len;
	}
}

static size_t
ready_message(unsigned long i, char *text)
{
	size_t len = ready.list[i % ready.count].len;
	memcpy(text, ready.list[i % ready.count].at, len);
	return len;
}

static size_t
make_message(unsigned long i, unsigned long user, char *text, size_t text_cap)
{
	int n = snprintf(text, text_cap,
			 "Received: from client.other.test (client.other.test [192.0.2.7])\r\n"
			 "\tby mx.other.test with ESMTPSA id %016" PRIx64 "\r\n"
			 "\tfor <user%lu@%s>; Sun, 22 Nov 2026 10:00:00 +0000\r\n"
			 "From: Sender Number %lu <sender%lu@other.test>\r\n"
			 "To: User %lu <user%lu@%s>\r\nCc: Somebody Else <else@third.test>\r\n"
			 "Subject: Minutes, part %lu, and what is left to do before autumn\r\n"
			 "Date: Sun, 22 Nov 2026 10:00:00 +0000\r\n"
			 "Message-ID: <%016" PRIx64 "@other.test>\r\n"
			 "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
			 "Content-Transfer-Encoding: 7bit\r\n\r\n",
			 mix(i), user, want.domain, i % 7, i % 7, user, user, want.domain, i, mix(i + 1));
	if (n < 0) {
		die("message");
	}
	size_t head = (size_t)n;
	size_t size = size_of(i);
	size_t body = size > head ? (size - head) / 72 * 72 : 72;
	if (head + body + 3 > text_cap) {
		die("message too large");
	}
	memcpy(text + head, filler, body);
	return head + body;
}

static void
one_message(struct client *c, unsigned long i, char *text, size_t text_cap)
{
	unsigned long user = i % want.users;
	double start = seconds_now();
	client_say(c, "MAIL FROM:<sender%lu@other.test>\r\nRCPT TO:<user%lu@%s>\r\nDATA\r\n", i % 7, user,
		   want.domain);
	if (client_reply(c, 250) != 250 || client_reply(c, 250) != 250 || client_reply(c, 354) != 354) {
		return;
	}
	size_t len = ready.count > 0 ? ready_message(i, text) : make_message(i, user, text, text_cap);
	memcpy(text + len, ".\r\n", 3);
	client_send(c, text, len + 3);
	(void)client_reply(c, 250);
	latency[i] = (float)(seconds_now() - start);
	(void)atomic_fetch_add(&bytes_sent, len);
}

static void *
sender(void *unused)
{
	(void)unused;
	char *text = malloc(LARGEST + 65536);
	if (text == NULL) {
		die("no memory");
	}
	const char *hello = want.lmtp ? "LHLO" : "EHLO";
	for (;;) {
		unsigned long first = atomic_fetch_add(&next_message, want.per_connection);
		if (first >= want.messages) {
			break;
		}
		struct client c;
		client_open(&c, want.host, want.port);
		(void)client_reply(&c, 220);
		client_say(&c, "%s mx.other.test\r\n", hello);
		(void)client_reply(&c, 250);
		if (!want.clear) {
			client_say(&c, "STARTTLS\r\n");
			(void)client_reply(&c, 220);
			client_start_tls(&c, context);
			client_say(&c, "%s mx.other.test\r\n", hello);
			(void)client_reply(&c, 250);
		}
		for (unsigned long i = first; i < first + want.per_connection && i < want.messages; i++) {
			one_message(&c, i, text, LARGEST + 65536);
		}
		client_say(&c, "QUIT\r\n");
		(void)client_reply(&c, 221);
		client_close(&c);
	}
	free(text);
	return NULL;
}

static int
by_value(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;
	return (x > y) - (x < y);
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {{"host", 1, NULL, 'h'},      {"port", 1, NULL, 'p'},
						{"domain", 1, NULL, 'd'},    {"connections", 1, NULL, 'c'},
						{"messages", 1, NULL, 'n'},  {"per-connection", 1, NULL, 'm'},
						{"users", 1, NULL, 'u'},     {"size", 1, NULL, 's'},
						{"lognormal", 0, NULL, 'l'}, {"lmtp", 0, NULL, 'L'},
						{"clear", 0, NULL, 'C'},     {"file", 1, NULL, 'f'},
						{NULL, 0, NULL, 0}};
	int o = 0;
	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (o) {
		case 'h':
			want.host = optarg;
			break;
		case 'p':
			want.port = optarg;
			break;
		case 'd':
			want.domain = optarg;
			break;
		case 'c':
			want.connections = strtoul(optarg, NULL, 10);
			break;
		case 'n':
			want.messages = strtoul(optarg, NULL, 10);
			break;
		case 'm':
			want.per_connection = strtoul(optarg, NULL, 10);
			break;
		case 'u':
			want.users = strtoul(optarg, NULL, 10);
			break;
		case 's':
			want.size = strtoul(optarg, NULL, 10);
			break;
		case 'l':
			want.lognormal = true;
			break;
		case 'L':
			want.lmtp = want.clear = true;
			break;
		case 'C':
			want.clear = true;
			break;
		case 'f':
			want.file = optarg;
			break;
		default:
			die("smtpload: unknown option");
		}
	}
	if (want.connections == 0 || want.connections > 1000 || want.messages == 0 ||
	    want.per_connection == 0 || want.users == 0 || want.size > LARGEST - 4096) {
		die("smtpload: a number is out of range");
	}
	context = client_context();
	make_filler();
	if (want.file != NULL) {
		read_messages(want.file);
	}
	latency = calloc(want.messages, sizeof(*latency));
	pthread_t *threads = calloc(want.connections, sizeof(*threads));
	if (latency == NULL || threads == NULL) {
		die("no memory");
	}
	double start = seconds_now();
	for (unsigned long i = 0; i < want.connections; i++) {
		if (pthread_create(&threads[i], NULL, sender, NULL) != 0) {
			die("no thread");
		}
	}
	for (unsigned long i = 0; i < want.connections; i++) {
		(void)pthread_join(threads[i], NULL);
	}
	double wall = seconds_now() - start;
	qsort(latency, want.messages, sizeof(*latency), by_value);
	struct rusage used;
	(void)getrusage(RUSAGE_SELF, &used);
	double cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
		     (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
	(void)printf("{\"messages\": %lu, \"seconds\": %.4f, \"per_second\": %.1f, \"mean_bytes\": %.0f, "
		     "\"p50_ms\": %.2f, \"p99_ms\": %.2f, \"client_cpu\": %.3f}\n",
		     want.messages, wall, (double)want.messages / wall,
		     (double)atomic_load(&bytes_sent) / (double)want.messages,
		     (double)latency[want.messages / 2] * 1e3,
		     (double)latency[want.messages * 99 / 100] * 1e3, cpu);
	free(latency);
	free(threads);
	free(filler);
	free(ready.list);
	free(ready.octets);
	SSL_CTX_free(context);
	return 0;
}
