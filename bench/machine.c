/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * What this machine does at this hour, as one JSON line: CPU of the server's side of a TLS 1.3 handshake in memory
 * (P-256 certificate, X25519, one ticket), and flushes of a file a second. Others on the machine slow both alike.
 *   machine DIRECTORY
 */
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "client.h"

enum { HANDSHAKES = 1000, FLUSHES = 500 };

static double
cpu_now(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static SSL_CTX *
server_context(void)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();
	SSL_CTX *server = SSL_CTX_new(TLS_server_method());
	if (key == NULL || certificate == NULL || server == NULL ||
	    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1) != 1 ||
	    X509_gmtime_adj(X509_getm_notBefore(certificate), 0) == NULL ||
	    X509_gmtime_adj(X509_getm_notAfter(certificate), 86400) == NULL ||
	    X509_set_pubkey(certificate, key) != 1 || X509_sign(certificate, key, EVP_sha256()) <= 0 ||
	    SSL_CTX_use_certificate(server, certificate) != 1 || SSL_CTX_use_PrivateKey(server, key) != 1 ||
	    SSL_CTX_set1_groups_list(server, "X25519") != 1 || SSL_CTX_set_num_tickets(server, 1) != 1) {
		die("no server context");
	}
	(void)SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_OFF);
	X509_free(certificate);
	EVP_PKEY_free(key);
	return server;
}

/* Seconds of CPU of the server's half of one connection. */
static double
handshake(SSL_CTX *server, SSL_CTX *client)
{
	double spent = -cpu_now();
	SSL *s = SSL_new(server);
	spent += cpu_now();
	SSL *c = SSL_new(client);
	BIO *here = NULL, *there = NULL;
	if (s == NULL || c == NULL || BIO_new_bio_pair(&here, 0, &there, 0) != 1) {
		die("no connection");
	}
	SSL_set_bio(s, here, here);
	SSL_set_bio(c, there, there);
	SSL_set_accept_state(s);
	SSL_set_connect_state(c);
	bool done = false;
	for (int round = 0; round < 8 && !done; round++) {
		bool client_done = SSL_do_handshake(c) == 1;
		spent -= cpu_now();
		done = SSL_do_handshake(s) == 1 && client_done;
		spent += cpu_now();
	}
	if (!done) {
		die("no handshake");
	}
	spent -= cpu_now();
	SSL_free(s);
	spent += cpu_now();
	SSL_free(c);
	return spent;
}

static double
flushes_a_second(const char *directory)
{
	char path[4096];
	if (snprintf(path, sizeof(path), "%s/flushes", directory) >= (int)sizeof(path)) {
		die("path too long");
	}
	int fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
	char block[4096] = {0};
	double start = seconds_now();
	for (int i = 0; i < FLUSHES; i++) {
		/* Within the file's size, as into a log that is used again. */
		if (pwrite(fd, block, sizeof(block), (i % 16) * (off_t)sizeof(block)) !=
			(ssize_t)sizeof(block) ||
		    fdatasync(fd) != 0) {
			die("cannot flush");
		}
	}
	double seconds = seconds_now() - start;
	(void)close(fd);
	(void)unlink(path);
	return FLUSHES / seconds;
}

int
main(int argc, char **argv)
{
	if (argc != 2) {
		die("usage: machine DIRECTORY");
	}
	SSL_CTX *server = server_context(), *client = client_context();
	double seconds = 0;
	for (int i = 0; i < HANDSHAKES; i++) {
		seconds += handshake(server, client);
	}
	(void)printf("{\"handshake_cpu_ms\": %.3f, \"flushes_per_second\": %.0f}\n",
		     seconds / HANDSHAKES * 1e3, flushes_a_second(argv[1]));
	SSL_CTX_free(server);
	SSL_CTX_free(client);
	return 0;
}
