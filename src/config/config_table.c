/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The keys of cohue.conf: one row drives parsing, printing, the template and the manual page. */
#include "config/config_internal.h"

static const struct config_choice tls_minimum[] = {
    {"1.3", CONFIG_TLS_1_3}, {"1.2", CONFIG_TLS_1_2}, {NULL, 0}};
static const struct config_choice outbound[] = {
    {"require", CONFIG_OUTBOUND_REQUIRE}, {"prefer", CONFIG_OUTBOUND_PREFER}, {NULL, 0}};
static const struct config_choice inbound_clear[] = {
    {"accept", CONFIG_CLEAR_ACCEPT}, {"refuse", CONFIG_CLEAR_REFUSE}, {NULL, 0}};
static const struct config_choice date[] = {
    {"release", CONFIG_DATE_RELEASE}, {"day", CONFIG_DATE_DAY}, {"keep", CONFIG_DATE_KEEP}, {NULL, 0}};

static const struct config_choice yes_or_no[] = {{"no", CONFIG_NO}, {"yes", CONFIG_YES}, {NULL, 0}};
static const struct config_choice authentication[] = {{"enforce", CONFIG_AUTHENTICATION_ENFORCE},
						      {"mark", CONFIG_AUTHENTICATION_MARK},
						      {"off", CONFIG_AUTHENTICATION_OFF},
						      {NULL, 0}};
static const struct config_choice on_off[] = {{"on", CONFIG_ON}, {"off", CONFIG_OFF}, {NULL, 0}};
static const struct config_choice sts[] = {
    {"testing", CONFIG_STS_TESTING}, {"enforce", CONFIG_STS_ENFORCE}, {"none", CONFIG_STS_NONE}, {NULL, 0}};
static const struct config_choice challenges[] = {
    {"auto", CONFIG_ACME_AUTO}, {"http-01", CONFIG_ACME_HTTP}, {"tls-alpn-01", CONFIG_ACME_TLS}, {NULL, 0}};
static const struct config_choice padding[] = {
    {"ladder", CONFIG_PAD_LADDER}, {"none", CONFIG_PAD_NONE}, {NULL, 0}};

#define KIB ((uint64_t)1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)

#define AT(field) .offset = offsetof(struct config, field)
#define COUNTED(field, count) AT(field), .count_offset = offsetof(struct config, count)

const struct config_key config_keys[] = {
    {.name = "domain",
     .type = CONFIG_TYPE_NAME,
     AT(domain),
     .standard = "",
     .group = "The house",
     .help = "The domain of the members' addresses. Required."},
    {.name = "hostname",
     .type = CONFIG_TYPE_NAME,
     AT(hostname),
     .standard = "",
     .help = "The name of this machine: in its greeting, in its certificate, in the MX record. Required."},
    {.name = "listen",
     .type = CONFIG_TYPE_LISTEN,
     COUNTED(listen, listen_count),
     .standard = "0.0.0.0 ::",
     .help = "Numeric addresses to listen on, separated by blanks."},
    {.name = "port_offset",
     .type = CONFIG_TYPE_NUMBER,
     AT(port_offset),
     .max = 64000,
     .standard = "0",
     .help = "Added to the ports 25, 465, 587, 993, 443 and 80, for trial runs without privileges."},

    {.name = "house_key",
     .type = CONFIG_TYPE_PATH,
     AT(house_key),
     .standard = "",
     .help = "The file with the house key, outside HOME and its backups: without it nothing stored can be "
	     "opened. "
	     "Required."},

    {.name = "leave.law",
     .type = CONFIG_TYPE_LAW,
     AT(leave.kind),
     .standard = "crowd",
     .group = "The waiting room of leaving mail",
     .help = "How leaving mail waits: crowd, exponential or none. none hides nothing and is for benchmarks. "
	     "While fewer "
	     "members can count than leave.crowd asks for, crowd is exponential."},
    {.name = "leave.mean",
     .type = CONFIG_TYPE_DURATION,
     AT(leave.mean),
     .min = 1000,
     .max = 24 * 3600 * 1000,
     .standard = "15 m",
     .help = "Mean wait of the exponential law."},
    {.name = "leave.clock",
     .type = CONFIG_TYPE_DURATION,
     AT(leave.clock),
     .min = 1000,
     .max = 24 * 3600 * 1000,
     .standard = "30 m",
     .help = "Period of the public clock of the crowd law."},
    {.name = "leave.crowd",
     .type = CONFIG_TYPE_NUMBER,
     AT(leave.k),
     .min = 2,
     .max = 1000,
     .standard = "3",
     .help = "The gate of the crowd law: at most one letter in this many is one member's. "
	     "Who is alone is no crowd: 1 is refused. While fewer members can count, each letter is void; "
	     "3 is the least that stands one accomplice."},
    {.name = "leave.deadline",
     .type = CONFIG_TYPE_DURATION,
     AT(leave.deadline),
     .min = 1000,
     .max = (uint64_t)30 * 24 * 3600 * 1000,
     .standard = "1 d",
     .help = "What has waited this long leaves, crowd or none."},
    {.name = "leave.patient",
     .type = CONFIG_TYPE_DURATION,
     AT(leave.patient),
     .min = 1000,
     .max = (uint64_t)30 * 24 * 3600 * 1000,
     .standard = "2 d",
     .help = "Period of the patient lane, under the crowd law: its letters leave together, once leave.crowd "
	     "members have "
	     "written some. After three periods a letter goes on in the normal lane."},

    {.name = "arrive.law",
     .type = CONFIG_TYPE_LAW,
     AT(arrive.kind),
     .standard = "crowd",
     .group = "The waiting room of arriving mail",
     .help = "How arriving mail waits: as leave.law."},
    {.name = "arrive.mean",
     .type = CONFIG_TYPE_DURATION,
     AT(arrive.mean),
     .min = 1000,
     .max = 24 * 3600 * 1000,
     .standard = "1 m",
     .help = "Mean wait of the exponential law."},
    {.name = "arrive.clock",
     .type = CONFIG_TYPE_DURATION,
     AT(arrive.clock),
     .min = 1000,
     .max = 24 * 3600 * 1000,
     .standard = "2 m",
     .help = "Period of the public clock of the crowd law. A tenth of it after each tick (at most 2 s) every "
	     "connection in IDLE gets a record of 512 bytes, with news or without: a shorter clock costs "
	     "telephones "
	     "more battery. What a member's address with +now at its end is written to waits for the tick "
	     "alone."},
    {.name = "arrive.crowd",
     .type = CONFIG_TYPE_NUMBER,
     AT(arrive.k),
     .min = 1,
     .max = 1000,
     .standard = "2",
     .help = "The gate of the crowd law, counted in sending hosts."},
    {.name = "arrive.deadline",
     .type = CONFIG_TYPE_DURATION,
     AT(arrive.deadline),
     .min = 1000,
     .max = (uint64_t)30 * 24 * 3600 * 1000,
     .standard = "4 m",
     .help = "What has waited this long is delivered, crowd or none."},

    {.name = "web",
     .type = CONFIG_TYPE_CHOICE,
     AT(web),
     .choices = on_off,
     .standard = "on",
     .group = "What the house says over HTTP",
     .help = "Settings for mail programs, the policy of mta_sts, answers to a certificate authority: on, on "
	     "ports 443 and 80, or "
	     "off. Nothing is logged there."},
    {.name = "web.https_port",
     .type = CONFIG_TYPE_NUMBER,
     AT(web_https_port),
     .min = 1,
     .max = 65535,
     .standard = "443",
     .help = "Another port where a web server of this machine has 443 and passes on to us (TLS, with the "
	     "Host field as it "
	     "came)."},
    {.name = "web.http_port",
     .type = CONFIG_TYPE_NUMBER,
     AT(web_http_port),
     .min = 1,
     .max = 65535,
     .standard = "80",
     .help = "The same for port 80, in clear."},
    {.name = "mta_sts",
     .type = CONFIG_TYPE_CHOICE,
     AT(mta_sts),
     .choices = sts,
     .standard = "testing",
     .help = "The policy for servers that send mail here (RFC 8461): testing (they report what fails), "
	     "enforce (they deliver over "
	     "verified TLS or not at all: only with a certificate from an authority), or none (takes an "
	     "earlier one back). "
	     "cohue dns prints its record."},

    {.name = "date",
     .type = CONFIG_TYPE_CHOICE,
     AT(date),
     .choices = date,
     .standard = "release",
     .group = "What leaves with a message",
     .help =
	 "The Date that recipients see, always in UTC: release (when it left first), day (the day of that, "
	 "without the hour), or keep (when it was written, unless that is three days off or more)."},

    {.name = "status.exact",
     .type = CONFIG_TYPE_CHOICE,
     AT(status_exact),
     .choices = yes_or_no,
     .standard = "no",
     .group = "What cohue status tells",
     .help = "Of mail: sums of whole hours, as the next power of ten (no). yes tells each number as it is at "
	     "this "
	     "moment and is for tests."},

    {.name = "authentication",
     .type = CONFIG_TYPE_CHOICE,
     AT(authentication),
     .choices = authentication,
     .standard = "enforce",
     .group = "Whose mail it is",
     .help = "SPF, DKIM, ARC and DMARC of arriving mail: enforce what the author's domain asks for (refuse, "
	     "or set apart as "
	     "junk), mark only, or off, for trials without DNS."},
    {.name = "authentication.arc_trusted",
     .type = CONFIG_TYPE_TEXT,
     AT(arc_trusted),
     .max = CONFIG_TEXT_MAX,
     .standard = "",
     .help = "Domains, separated by blanks, whose ARC seals are believed when they say that DMARC passed "
	     "before they changed a "
	     "message: mailing lists that members read."},

    {.name = "junk.score",
     .type = CONFIG_TYPE_CHOICE,
     AT(junk_score),
     .choices = on_off,
     .standard = "on",
     .group = "Unwanted mail",
     .help =
	 "Arriving mail gets a score by rules that are the same for everybody (host names, SPF, DKIM, "
	 "DMARC, the message's header); from 5.0 on it goes to Junk, unless the member has taught otherwise. "
	 "Needs authentication."},
    {.name = "limits.client_connections",
     .type = CONFIG_TYPE_NUMBER,
     AT(rate_connections),
     .max = 100000,
     .standard = "120",
     .help = "Connections to port 25 a minute from one network (IPv4 /24, IPv6 /56), for each worker; more "
	     "are sent away for the moment. 0: no limit. Known by a keyed hash in memory alone."},
    {.name = "limits.client_messages",
     .type = CONFIG_TYPE_NUMBER,
     AT(rate_messages),
     .max = 100000,
     .standard = "300",
     .help = "Messages a minute from one network, in the same way."},
    {.name = "limits.domain_messages",
     .type = CONFIG_TYPE_NUMBER,
     AT(rate_domain),
     .max = 100000,
     .standard = "600",
     .help = "Messages a minute of one sender's domain, from wherever. Only those count for which SPF "
	     "passed: nobody can use up another one's. 0: no limit."},
    {.name = "limits.unknown_recipients",
     .type = CONFIG_TYPE_NUMBER,
     AT(rate_unknown),
     .max = 100000,
     .standard = "100",
     .help = "Recipients that do not exist, an hour from one network; who asks for more gets no answer about "
	     "any for a while. 0: no limit."},
    {.name = "greylist",
     .type = CONFIG_TYPE_CHOICE,
     AT(greylist),
     .choices = yes_or_no,
     .standard = "no",
     .help = "Networks that have not sent here before have to come twice. Delays honest mail by minutes to "
	     "hours, and makes each of its senders connect once more; never mail to a +now address."},
    {.name = "greylist.delay",
     .type = CONFIG_TYPE_DURATION,
     AT(greylist_delay),
     .min = 1000,
     .max = 3600 * 1000,
     .standard = "5 m",
     .help = "The second time counts when so much time has passed."},
    {.name = "dnsbl",
     .type = CONFIG_TYPE_TEXT,
     AT(dnsbl),
     .max = CONFIG_TEXT_MAX,
     .standard = "",
     .help =
	 "DNS block lists, zones separated by blanks, that are asked for each sending host: each that "
	 "lists it adds 3.0 to the score. Whoever runs a list, or watches its servers, learns which hosts "
	 "send mail here, and when. Needs junk.score."},
    {.name = "rspamd",
     .type = CONFIG_TYPE_TEXT,
     AT(rspamd),
     .max = CONFIG_TEXT_MAX,
     .standard = "",
     .help =
	 "An rspamd that is shown arriving mail, like http://127.0.0.1:11333: numeric, on this machine, "
	 "or with https. It sees each message in clear. Without its answer mail is accepted all the same."},

    {.name = "pad",
     .type = CONFIG_TYPE_CHOICE,
     AT(pad),
     .choices = padding,
     .standard = "ladder",
     .group = "TLS",
     .help = "What is sent under TLS 1.3 has few sizes only: ladder. none shows each size and is for "
	     "benchmarks."},
    {.name = "tls.member_minimum",
     .type = CONFIG_TYPE_CHOICE,
     AT(tls_member_minimum),
     .choices = tls_minimum,
     .standard = "1.3",
     .help = "The oldest TLS version for members: 1.3 or 1.2 (old programs; sizes show)."},
    {.name = "tls.outbound",
     .type = CONFIG_TYPE_CHOICE,
     AT(tls_outbound),
     .choices = outbound,
     .standard = "require",
     .help = "Leaving mail: require encryption, or prefer it and send in clear where a server offers none."},
    {.name = "tls.exceptions",
     .type = CONFIG_TYPE_TEXT,
     AT(tls_exceptions),
     .max = CONFIG_TEXT_MAX * 2,
     .standard = "",
     .help = "Domains, separated by blanks, that mail is sent to however their servers are protected, in "
	     "clear if "
	     "need be; their DANE and MTA-STS policies are passed over. For servers known to be broken."},
    {.name = "tls.authorities",
     .type = CONFIG_TYPE_PATH,
     AT(tls_authorities),
     .standard = "",
     .help = "Certificates (PEM) of the authorities that vouch for other servers under MTA-STS. Not set: the "
	     "system's, /etc/ssl/certs/ca-certificates.crt."},
    {.name = "tls.inbound_clear",
     .type = CONFIG_TYPE_CHOICE,
     AT(tls_inbound_clear),
     .choices = inbound_clear,
     .standard = "accept",
     .help = "Mail that arrives without encryption on port 25: accept or refuse."},
    {.name = "tls.mx_certificate",
     .type = CONFIG_TYPE_PATH,
     AT(tls_mx_certificate),
     .standard = "",
     .help = "Certificate chain (PEM) for port 25. Not set: the self-signed one made by cohue init."},
    {.name = "tls.mx_key",
     .type = CONFIG_TYPE_PATH,
     AT(tls_mx_key),
     .standard = "",
     .help =
	 "Its key (PEM). Others must not be able to read it (chmod 600, or 640 with a group of its own)."},
    {.name = "tls.member_certificate",
     .type = CONFIG_TYPE_PATH,
     AT(tls_member_certificate),
     .standard = "",
     .help = "Certificate chain (PEM) for members' ports. Not set: the self-signed one made by cohue init."},
    {.name = "tls.member_key",
     .type = CONFIG_TYPE_PATH,
     AT(tls_member_key),
     .standard = "",
     .help =
	 "Its key (PEM). Others must not be able to read it (chmod 600, or 640 with a group of its own)."},

    {.name = "acme",
     .type = CONFIG_TYPE_CHOICE,
     AT(acme),
     .choices = on_off,
     .standard = "off",
     .group = "Certificates of an authority",
     .help = "Get certificates from a certificate authority by ACME, and renew them (docs/links.md). on says "
	     "that you agree to its terms. It learns your host names and publishes them."},
    {.name = "acme.directory",
     .type = CONFIG_TYPE_TEXT,
     AT(acme_directory),
     .max = CONFIG_TEXT_MAX,
     .standard = "https://acme-v02.api.letsencrypt.org/directory",
     .help = "The authority: the URL of its directory. Let's Encrypt unless you name another."},
    {.name = "acme.challenge",
     .type = CONFIG_TYPE_CHOICE,
     AT(acme_challenge),
     .choices = challenges,
     .standard = "auto",
     .help =
	 "How the authority sees that the names are ours: http-01 on port 80, tls-alpn-01 on port 443. auto: "
	 "port 80 first, and the other where that failed."},
    {.name = "acme.contact",
     .type = CONFIG_TYPE_TEXT,
     AT(acme_contact),
     .max = CONFIG_TEXT_MAX,
     .standard = "",
     .help = "An address for the authority to write to. Not set: none."},
    {.name = "acme.ca",
     .type = CONFIG_TYPE_PATH,
     AT(acme_ca),
     .standard = "",
     .help = "Certificates (PEM) of authorities beside the system's, which the authority's own web server "
	     "and the "
	     "certificates that it gives may lead to: for an authority of your own, or tests."},

    {.name = "smarthost",
     .type = CONFIG_TYPE_HOST_PORT,
     COUNTED(smarthost, smarthost_port),
     .standard = "",
     .group = "Delivery",
     .help =
	 "Deliver all leaving mail through this server, HOST:PORT (587 if no port is given), where port 25 "
	 "is blocked. Not set: deliver directly."},
    {.name = "smarthost.user",
     .type = CONFIG_TYPE_TEXT,
     AT(smarthost_user),
     .max = CONFIG_TEXT_MAX,
     .standard = "",
     .help = "User name at the smarthost. Not set: no login."},
    {.name = "smarthost.password_file",
     .type = CONFIG_TYPE_PATH,
     AT(smarthost_password_file),
     .standard = "",
     .help = "File with the password, its first line."},
    {.name = "courier.port",
     .type = CONFIG_TYPE_NUMBER,
     AT(courier_port),
     .min = 1,
     .max = 65535,
     .standard = "25",
     .help = "The port of other providers' servers. Anything but 25 is for trial runs."},
    {.name = "fetcher.port",
     .type = CONFIG_TYPE_NUMBER,
     AT(fetcher_port),
     .min = 1,
     .max = 65535,
     .standard = "443",
     .help = "The port of other providers' MTA-STS policies. Anything but 443 is for trial runs."},
    {.name = "dkim.overlap",
     .type = CONFIG_TYPE_DURATION,
     AT(dkim_overlap),
     .min = 3600 * 1000,
     .max = (uint64_t)90 * 24 * 3600 * 1000,
     .standard = "7 d",
     .help = "How long after cohue dkim rotate the new keys begin to sign: time to publish their records, "
	     "and for "
	     "others to see them."},
    {.name = "dmarc.rua",
     .type = CONFIG_TYPE_TEXT,
     AT(dmarc_rua),
     .max = CONFIG_TEXT_MAX,
     .standard = "",
     .help =
	 "An address that others may send aggregate reports to; it goes into the DMARC record of cohue dns. "
	 "Not set: no reports are asked for, since they tell who writes to whom, by domain and day."},
    {.name = "reports.dmarc",
     .type = CONFIG_TYPE_CHOICE,
     AT(reports_dmarc),
     .choices = on_off,
     .standard = "off",
     .help = "Aggregate reports (RFC 7489) to the domains of authors that ask for them, once a day. They "
	     "tell those domains, whoever works their reports "
	     "up, and whoever sees the letters on their way, that about so much mail of theirs came here on "
	     "that day. Coarse: from 5 members "
	     "and 16 messages on, powers of two, networks and not addresses. Needs authentication."},
    {.name = "reports.tls",
     .type = CONFIG_TYPE_CHOICE,
     AT(reports_tls),
     .choices = on_off,
     .standard = "off",
     .help = "TLS reports (RFC 8460) to the domains that this house sends to and that ask for them, once a "
	     "day: how many connections "
	     "were encrypted as they want. They tell that about so much mail went there on that day. For "
	     "them the courier remembers, until the day "
	     "ends, each domain that it sent to. Coarse in the same way."},
    {.name = "reports.day",
     .type = CONFIG_TYPE_DURATION,
     AT(reports_day),
     .min = 1000,
     .max = 24 * 3600 * 1000,
     .standard = "1 d",
     .help = "What reports cover. Anything but a day is for trial runs."},
    {.name = "retry.warn",
     .type = CONFIG_TYPE_DURATION,
     AT(retry_warn),
     .min = 3600 * 1000,
     .max = (uint64_t)30 * 24 * 3600 * 1000,
     .standard = "1 d",
     .help = "After this long without success the sender is warned."},
    {.name = "retry.give_up",
     .type = CONFIG_TYPE_DURATION,
     AT(retry_give_up),
     .min = 3600 * 1000,
     .max = (uint64_t)30 * 24 * 3600 * 1000,
     .standard = "5 d",
     .help = "After this long without success the message goes back to its sender."},

    {.name = "resolver.trust_anchor",
     .type = CONFIG_TYPE_TEXT,
     AT(resolver_trust_anchor),
     .max = CONFIG_PATH_MAX,
     .standard = "",
     .group = "DNS",
     .help =
	 "DNSSEC trust anchor: a file (a path that begins with /), or a DS or DNSKEY record. Not set: the "
	 "root's."},
    {.name = "resolver.stub",
     .type = CONFIG_TYPE_STUB,
     COUNTED(resolver_stub, resolver_stub_count),
     .standard = "",
     .help = "Authoritative servers to ask instead of those that the root names: [ZONE=]ADDRESS[@PORT], "
	     "separated by blanks; without a zone, for all."},
    {.name = "resolver.forward",
     .type = CONFIG_TYPE_FORWARD,
     COUNTED(resolver_forward, resolver_forward_count),
     .standard = "",
     .help =
	 "Recursive servers to ask: ADDRESS[@PORT], separated by blanks. Not set: Cohue resolves itself."},
    {.name = "resolver.forward_tls",
     .type = CONFIG_TYPE_FORWARD_TLS,
     COUNTED(resolver_forward_tls, resolver_forward_tls_count),
     .standard = "",
     .help = "The same over TLS: ADDRESS[@PORT]#NAME, where NAME stands in the certificate."},

    {.name = "limits.message_size",
     .type = CONFIG_TYPE_SIZE,
     AT(message_size),
     .min = 64 * KIB,
     .max = GIB,
     .standard = "35 MiB",
     .group = "Limits",
     .help = "Largest message, as it travels (attachments grow by a third)."},
    {.name = "limits.recipients",
     .type = CONFIG_TYPE_NUMBER,
     AT(recipients),
     .min = 100, /* RFC 5321, 4.5.3.1.8 */
     .max = 1000,
     .standard = "100",
     .help = "Recipients of one message."},
    {.name = "limits.sending_messages",
     .type = CONFIG_TYPE_NUMBER,
     AT(sending_messages),
     .max = 1000000,
     .standard = "200",
     .help = "Messages that a member may send within an hour; more are put off. This limit and the next ones "
	     "stop a stolen account early; a member's own are set by cohue member limit. 0: no limit."},
    {.name = "limits.sending_recipients",
     .type = CONFIG_TYPE_NUMBER,
     AT(sending_recipients),
     .max = 1000000,
     .standard = "500",
     .help = "Recipients that a member may send to within an hour, all messages together. 0: no limit."},
    {.name = "limits.sending_recipients_day",
     .type = CONFIG_TYPE_NUMBER,
     AT(sending_recipients_day),
     .max = 10000000,
     .standard = "2000",
     .help = "The same within a day. Who passes it cannot send until a volunteer lifts it (cohue member "
	     "resume), or her passwords are changed. 0: no limit."},
    {.name = "limits.sending_domains",
     .type = CONFIG_TYPE_NUMBER,
     AT(sending_domains),
     .max = 1000,
     .standard = "100",
     .help = "Different domains of others that a member may send to within an hour. 0: no limit."},
    {.name = "limits.sending_failures",
     .type = CONFIG_TYPE_NUMBER,
     AT(sending_failures),
     .max = 100,
     .standard = "30",
     .help = "Percent of a day's recipients that other servers may refuse for good before a member cannot "
	     "send; of 20 at least. 0: no limit."},
    {.name = "limits.quota",
     .type = CONFIG_TYPE_SIZE,
     AT(quota),
     .max = 1024 * 1024 * GIB,
     .standard = "5 GiB",
     .help =
	 "Space of a member, unless set otherwise for her; 0: no limit. Mail that would pass it, by the size "
	 "which its sender declares, is refused for her alone. What has been accepted comes in, even if it "
	 "passes it; mail to an address of several comes in up to limits.message_size above it, as long as "
	 "one of them has room."},
    {.name = "limits.smtp_idle",
     .type = CONFIG_TYPE_DURATION,
     AT(smtp_idle),
     .min = 10 * 1000,
     .max = 3600 * 1000,
     .standard = "5 m", /* RFC 5321, 4.5.3.2.7 */
     .help = "Silence after which an SMTP connection is ended."},
    {.name = "limits.imap_idle",
     .type = CONFIG_TYPE_DURATION,
     AT(imap_idle),
     .min = 60 * 1000,
     .max = 24 * 3600 * 1000,
     .standard = "30 m", /* RFC 3501, 5.4 */
     .help = "Silence after which an IMAP connection is ended."},

    {.name = "gate_mx.workers",
     .type = CONFIG_TYPE_NUMBER,
     AT(gate_mx_workers),
     .min = 1,
     .max = 16,
     .standard = "1",
     .group = "Processes",
     .help = "Processes that face strangers."},
    {.name = "gate_mx.connections",
     .type = CONFIG_TYPE_NUMBER,
     AT(gate_mx_connections),
     .min = 10,
     .max = 20000,
     .standard = "1000",
     .help = "Connections at once, for each of them."},
    {.name = "gate_member.workers",
     .type = CONFIG_TYPE_NUMBER,
     AT(gate_member_workers),
     .min = 1,
     .max = 16,
     .standard = "1",
     .help = "Processes that face members."},
    {.name = "gate_member.connections",
     .type = CONFIG_TYPE_NUMBER,
     AT(gate_member_connections),
     .min = 10,
     .max = 20000,
     .standard = "4000",
     .help = "Connections at once, for each of them."},
    {.name = "session.workers",
     .type = CONFIG_TYPE_NUMBER,
     AT(session_workers),
     .min = 1,
     .max = 16,
     .standard = "2",
     .help = "Processes that serve members who have logged in; a member always meets the same one."},
    {.name = "courier.connections",
     .type = CONFIG_TYPE_NUMBER,
     AT(courier_connections),
     .min = 1,
     .max = 1000,
     .standard = "20",
     .help = "Connections at once to other servers."},
};

const size_t config_key_count = sizeof(config_keys) / sizeof(config_keys[0]);
