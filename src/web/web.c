/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "web/web.h"

#include <stdio.h>
#include <string.h>

#include "web/web_internal.h"

#define FIELDS_COMMON                                                                                        \
	"Cache-Control: no-store\r\n"                                                                        \
	"Content-Security-Policy: default-src 'none'; style-src 'self'; base-uri 'none'; form-action "       \
	"'none'; "                                                                                           \
	"frame-ancestors 'none'\r\n"                                                                         \
	"Cross-Origin-Opener-Policy: same-origin\r\n"                                                        \
	"Cross-Origin-Resource-Policy: same-origin\r\n"                                                      \
	"Referrer-Policy: no-referrer\r\n"                                                                   \
	"X-Content-Type-Options: nosniff\r\n"                                                                \
	"X-Frame-Options: DENY\r\n"

/* A year; for this host name alone: the domain's others may be somebody else's. */
const char web_fields_secure[] = "Strict-Transport-Security: max-age=31536000\r\n" FIELDS_COMMON;
const char web_fields_clear[] = FIELDS_COMMON;

static const char type_text[] = "text/plain; charset=utf-8";
static const char type_html[] = "text/html; charset=utf-8";
static const char type_css[] = "text/css; charset=utf-8";
static const char type_xml[] = "text/xml; charset=utf-8";
static const char type_json[] = "application/json; charset=utf-8";
static const char type_apple[] = "application/x-apple-aspen-config";

/* The names that we answer for. */
enum site { SITE_NONE, SITE_HOUSE, SITE_AUTOCONFIG, SITE_POLICY };

static bool
is_below(struct bytes host, const char *prefix, const char *domain)
{
	return bytes_starts_with(host, prefix) && bytes_is_nocase(bytes_from(host, strlen(prefix)), domain);
}

static enum site
site_of(const struct config *c, struct bytes host)
{
	if (bytes_is_nocase(host, c->hostname) || bytes_is_nocase(host, c->domain) ||
	    is_below(host, "autodiscover.", c->domain)) {
		return SITE_HOUSE;
	}
	if (is_below(host, "autoconfig.", c->domain)) {
		return SITE_AUTOCONFIG;
	}
	return is_below(host, "mta-sts.", c->domain) ? SITE_POLICY : SITE_NONE;
}

static enum err
say(struct web_reply *r, unsigned status, const char *text)
{
	r->status = status;
	r->type = type_text;
	return buf_append_str(&r->body, text);
}

/* RFC 9110 section 15.5.20 */
static enum err
misdirected(const struct config *c, struct web_reply *r)
{
	enum err e = say(r, 421, "");
	return e == ERR_OK ? buf_printf(&r->body, "This server answers for %s.\n", c->hostname) : e;
}

static enum err
not_allowed(struct web_reply *r)
{
	enum err e = say(r, 405, "405 Method Not Allowed\n");
	return e == ERR_OK ? buf_append_str(&r->fields, "Allow: GET, HEAD\r\n") : e;
}

/* ---- the pages ---- */

static enum err
answer_profile(const struct config *c, const struct http_request *q, struct web_reply *r)
{
	struct buf address = BUF_INIT(64 + CONFIG_NAME_MAX);
	enum err e = http_query_value(q->query, "address", &address);
	if (e == ERR_MEMORY) {
		return e;
	}
	if (e != ERR_NOT_FOUND && (e != ERR_OK || !web_is_address(c, buf_bytes(&address)))) {
		buf_wipe(&address);
		return say(r, 400,
			   "This is no address of the house. Without an address the device asks for it.\n");
	}
	r->type = type_apple;
	e = buf_printf(&r->fields, "Content-Disposition: attachment; filename=\"%s.mobileconfig\"\r\n",
		       c->domain);
	e = e == ERR_OK ? web_apple_profile(c, buf_bytes(&address), &r->body) : e;
	buf_wipe(&address);
	return e;
}

static bool
is_settings(enum site site, struct bytes path)
{
	return bytes_is(path, "/.well-known/autoconfig/mail/config-v1.1.xml") ||
	       (site == SITE_AUTOCONFIG && bytes_is(path, "/mail/config-v1.1.xml"));
}

/* Outlook writes it in several cases. */
static bool
is_autodiscover(struct bytes path)
{
	return bytes_is_nocase(path, "/autodiscover/autodiscover.xml");
}

static enum err
answer_house(const struct config *c, const struct http_request *q, struct web_reply *r)
{
	r->status = 200;
	if (is_autodiscover(q->path)) {
		r->type = type_xml;
		return web_autodiscover(c, q->body, &r->body);
	}
	if (q->method == HTTP_POST) {
		return not_allowed(r);
	}
	if (bytes_is(q->path, "/")) {
		r->type = type_html;
		return web_page(c, &r->body);
	}
	if (bytes_is(q->path, "/style.css")) {
		r->type = type_css;
		return buf_append_str(&r->body, web_style);
	}
	if (bytes_is(q->path, "/apple.mobileconfig")) {
		return answer_profile(c, q, r);
	}
	if (bytes_is_nocase(q->path, "/autodiscover/autodiscover.json") ||
	    bytes_starts_with_nocase(q->path, "/autodiscover/autodiscover.json/")) {
		r->type = type_json;
		return web_autodiscover_json(c, q->query, &r->status, &r->body);
	}
	return say(r, 404, "404 Not Found\n");
}

static enum err
answer_policy(const struct config *c, const struct http_request *q, struct web_reply *r)
{
	if (!bytes_is(q->path, "/.well-known/mta-sts.txt")) {
		return say(r, 404, "404 Not Found\n");
	}
	if (q->method == HTTP_POST) {
		return not_allowed(r);
	}
	/* RFC 8461 section 3.2 */
	r->status = 200;
	r->type = type_text;
	return web_mta_sts_policy(c, &r->body);
}

/* ---- in clear ---- */

/* To the same place over TLS. Its host is one of ours, its path has no blank and no control character in it. */
static enum err
redirect(const struct config *c, const struct http_request *q, struct web_reply *r)
{
	if (q->method == HTTP_POST) {
		return say(r, 403, "This is answered over https alone.\n");
	}
	/* Outlook follows a 302 alone. */
	r->status = is_autodiscover(q->path) ? 302 : 301;
	enum err e = buf_append_str(&r->fields, "Location: https://");
	e = e == ERR_OK ? buf_append(&r->fields, q->host) : e;
	if (e == ERR_OK && c->port_offset != 0) {
		e = buf_printf(&r->fields, ":%u", 443 + c->port_offset);
	}
	e = e == ERR_OK ? buf_append(&r->fields, q->path) : e;
	if (e == ERR_OK && q->query.len > 0) {
		e = buf_append_byte(&r->fields, '?');
		e = e == ERR_OK ? buf_append(&r->fields, q->query) : e;
	}
	return e == ERR_OK ? buf_append_str(&r->fields, "\r\n") : e;
}

enum err
web_answer(const struct web *w, bool secure, const struct http_request *q, msec now, struct web_reply *r)
{
	static const char acme[] = "/.well-known/acme-challenge/";
	const struct config *c = w->config;
	enum site site = site_of(c, q->host);
	*r = (struct web_reply){.status = 500};
	buf_init(&r->fields, WEB_FIELDS_MAX);
	buf_init(&r->body, WEB_BODY_MAX);
	if (site == SITE_NONE) {
		return misdirected(c, r);
	}
	if (bytes_starts_with(q->path, acme)) {
		const char *answer =
		    web_challenge_find(&w->challenges, bytes_from(q->path, sizeof(acme) - 1), now);
		if (q->method == HTTP_POST) {
			return not_allowed(r);
		}
		enum err e = say(r, answer == NULL ? 404 : 200, answer == NULL ? "404 Not Found\n" : answer);
		r->type = answer == NULL ? type_text : "application/octet-stream";
		return e;
	}
	/*
	 * In clear, too: programs ask http://autoconfig.DOMAIN before a certificate for that name exists, and who sits on the line could
	 * answer in our place anyway. It names TLS ports alone, and holds no secret.
	 */
	if (is_settings(site, q->path)) {
		if (q->method == HTTP_POST) {
			return not_allowed(r);
		}
		r->status = 200;
		r->type = type_xml;
		return web_autoconfig(c, &r->body);
	}
	if (!secure) {
		return redirect(c, q, r);
	}
	return site == SITE_POLICY ? answer_policy(c, q, r) : answer_house(c, q, r);
}
