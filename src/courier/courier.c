/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * SECURITY. The courier holds the messages that leave just now, and the spool's secret keys. It connects to servers of
 * strangers and reads what they answer (protocol/smtp_client.h, TLS by OpenSSL), and the DNS by way of the
 * resolver. It has no files, and no way to stored mail: it asks the mixer for the blobs of work at hand. It seals reports
 * to members' public keys, which stand in the sealed parts. Where reports to others are on, it has sums of the day by domain. Its capture yields leaving
 * mail, from then on, and these.
 */
#include "courier/courier.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "authentication/dmarc.h"
#include "base/file.h"
#include "base/secret.h"
#include "courier/protect.h"
#include "courier/reporting.h"
#include "process/log.h"

#define SYSTEM_AUTHORITIES "/etc/ssl/certs/ca-certificates.crt"

enum { STOP_LIMIT_MS = 5 * 1000, STOP_STEP_MS = 20, START_LIMIT_MS = 20 * 1000 };

/* The first line of the smarthost's password file. */
static enum err
read_password(struct courier *c, struct bytes *ret)
{
	const char *path = c->host->config.smarthost_password_file;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	c->password = secret_alloc(CONFIG_TEXT_MAX);
	if (fd < 0 || c->password == NULL) {
		log_event(LOG_LEVEL_ERROR,
			  "the smarthost's password file cannot be read: %s. Remedy: see "
			  "smarthost.password_file in cohue.conf",
			  err_text(fd < 0 ? err_from_errno(errno) : ERR_MEMORY));
		if (fd >= 0) {
			(void)close(fd);
		}
		return ERR_IO;
	}
	ssize_t n = read(fd, c->password, CONFIG_TEXT_MAX - 1);
	(void)close(fd);
	struct bytes text = bytes_of(c->password, n > 0 ? (size_t)n : 0);
	ptrdiff_t end = bytes_find(text, '\n');
	text = end >= 0 ? bytes_slice(text, 0, (size_t)end) : text;
	if (text.len > 0 && text.ptr[text.len - 1] == '\r') {
		text.len--;
	}
	if (text.len == 0) {
		log_event(LOG_LEVEL_ERROR,
			  "the smarthost's password file is empty. Remedy: write the password "
			  "into its first line");
		return ERR_FORMAT;
	}
	*ret = text;
	return ERR_OK;
}

static enum err
configure(struct courier *c)
{
	const struct config *config = &c->host->config;
	struct connection_settings *s = &c->settings;
	struct smtp_client_config smtp;
	enum err e = ERR_OK;
	smtp_client_config_default(&smtp);
	smtp.hello = bytes_str(config->hostname);
	if (config->smarthost_user[0] != '\0') {
		smtp.user = bytes_str(config->smarthost_user);
		e = read_password(c, &smtp.password);
	}
	for (unsigned p = SMTP_TLS_NONE; p <= SMTP_TLS_IMPLICIT; p++) {
		s->smtp[p] = smtp;
		s->smtp[p].tls = (enum smtp_tls_policy)p;
	}
	s->loop = c->host->loop;
	s->connect_ms = COURIER_CONNECT_MS;
	s->pad = config->pad != CONFIG_PAD_NONE;
	s->port = config->smarthost[0] != '\0' ? config->smarthost_port : (uint16_t)config->courier_port;
	return e;
}

/* Who is at the other end only DANE and MTA-STS can say: without them it is encrypted, not verified. */
static enum err
prepare_tls(struct courier *c)
{
	enum { AUTHORITIES_MAX = 16 << 20 };
	const char *named = c->host->config.tls_authorities;
	struct buf pem = BUF_INIT(AUTHORITIES_MAX);
	/* Without any no server can prove itself under MTA-STS; the fetcher says so. */
	enum err e = file_read(named[0] != '\0' ? named : SYSTEM_AUTHORITIES, 0, 0, &pem);
	if (e != ERR_OK && named[0] == '\0') {
		buf_clear(&pem);
		e = ERR_OK;
	}
	if (e == ERR_OK) {
		e = tls_client_create_proving(TLS_1_2, buf_bytes(&pem), &c->settings.tls);
	}
	buf_clear(&pem);
	return e;
}

static enum err
prepare(struct role_host *h, struct sandbox_profile *profile)
{
	(void)profile;
	struct courier *c = calloc(1, sizeof(*c));
	if (c == NULL) {
		return ERR_MEMORY;
	}
	c->host = h;
	h->state = c;
	enum err e = configure(c);
	if (e != ERR_OK) {
		return e;
	}
	sts_cache_init(&c->sts);
	reporting_init(c);
	e = prepare_tls(c);
	if (e == ERR_OK) {
		e = blob_codec_create(&c->codec);
	}
	if (e == ERR_OK && h->config.reports_dmarc == CONFIG_ON) {
		e = dmarc_prepare(); /* reads the list of public suffixes while there are files */
	}
	if (e == ERR_OK) {
		e = pool_create(&c->settings, h->config.courier_connections, &c->pool);
	}
	if (e != ERR_OK) {
		log_event(LOG_LEVEL_ERROR, "the courier cannot be set up: %s", err_text(e));
	}
	return e;
}

static enum err
start(struct role_host *h)
{
	struct courier *c = h->state;
	struct channel *ch = NULL;
	msec until = loop_now(h->loop) + START_LIMIT_MS;
	crypto_random_init(&c->random);
	work_gather_start(c);
	courier_keys_start(c);
	enum err e = purpose_keys_fetch(h, &c->purpose);
	if (e == ERR_OK &&
	    (c->purpose.key[PURPOSE_BLOB_NAME] == NULL || c->purpose.key[PURPOSE_COURIER_KEEP] == NULL ||
	     c->purpose.key[PURPOSE_PUBLIC_KEY_VERIFY] == NULL)) {
		e = ERR_STATE;
	}
	e = e == ERR_OK ? role_wait_channel(h, ROLE_RESOLVER, 0, until, &ch) : e;
	return e == ERR_OK ? protect_start(c) : e;
}

static void
message(struct role_host *h, struct channel *ch, const struct channel_message *m)
{
	struct msg_courier_work work;
	struct msg_report_rows rows;
	if (m->type == MSG_REPORT_ROWS && msg_report_rows_decode(m->payload, &rows) == ERR_OK &&
	    reporting_take(h->state, rows.rows) == ERR_OK) {
		return;
	}
	if (m->type != MSG_COURIER_WORK || msg_courier_work_decode(m->payload, &work) != ERR_OK) {
		channel_fault(ch);
		return;
	}
	if (!h->stopping) {
		work_take(h->state, &work);
	}
}

static void
peer_down(struct role_host *h, enum role peer, unsigned index)
{
	struct courier *c = h->state;
	(void)index;
	c->mixer_generation += peer == ROLE_MIXER ? 1 : 0;
}

static enum err
status(struct role_host *h, struct buf *out)
{
	const struct courier *c = h->state;
	return buf_printf(
	    out,
	    "=connections_open %zu\n=at_hand %zu\n+delivered %llu\n+deferred %llu\n+failed %llu\n"
	    "+reports %llu\n+reports_to_others %llu\n+unasked %llu\n+no_encryption %llu\n+delivered_unpadded "
	    "%llu\n+delivered_clear %llu\n"
	    "+delivered_dane %llu\n+delivered_mta_sts %llu\n+unprotected %llu\n+policies "
	    "%llu\n+policies_failed %llu\n"
	    "+class_exceeded %llu\n+signed %llu\n+sent_mib %llu\n+padding_mib %llu\n",
	    pool_open_count(c->pool), c->work_count, (unsigned long long)c->seen_delivered,
	    (unsigned long long)c->seen_deferred, (unsigned long long)c->seen_failed,
	    (unsigned long long)c->seen_reports, (unsigned long long)c->seen_reported,
	    (unsigned long long)c->seen_unasked, (unsigned long long)c->seen_no_encryption,
	    (unsigned long long)c->seen_unpadded, (unsigned long long)c->seen_clear,
	    (unsigned long long)c->seen_dane, (unsigned long long)c->seen_sts,
	    (unsigned long long)c->seen_unprotected, (unsigned long long)c->seen_policies,
	    (unsigned long long)c->seen_policies_failed, (unsigned long long)c->seen_larger,
	    (unsigned long long)c->seen_signed, (unsigned long long)(c->sent_payload >> 20),
	    (unsigned long long)(c->sent_padding >> 20));
}

static void
stop_task(void *arg)
{
	struct courier *c = arg;
	msec until = loop_now(c->host->loop) + STOP_LIMIT_MS;
	/* What is being sent may end; what does not is tried again after the next start. */
	while (c->work_count > 0 && loop_now(c->host->loop) < until && task_sleep(STOP_STEP_MS) == ERR_OK) {
	}
	pool_quit_idle(c->pool);
	enum err e = task_sleep(STOP_STEP_MS);
	(void)e;
	role_stopped(c->host);
}

static void
stop(struct role_host *h)
{
	if (role_spawn(h, stop_task, h->state) != ERR_OK) {
		role_stopped(h);
	}
}

const struct role_def courier_role = {
    .id = ROLE_COURIER,
    .sandbox_allow = SANDBOX_NET_CONNECT,
    .prepare = prepare,
    .start = start,
    .peer_down = peer_down,
    .message = message,
    .status = status,
    .stop = stop,
};
