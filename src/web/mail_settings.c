/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The settings of mail programs, each in the words of its maker. */
#include <stdio.h>
#include <string.h>

#include "crypto/crypto.h"
#include "web/web_internal.h"

/* https://HOST, with the port of a trial run. */
static enum err
append_web(const struct config *c, struct buf *out)
{
	return c->port_offset == 0 ? buf_printf(out, "https://%s", c->hostname)
				   : buf_printf(out, "https://%s:%u", c->hostname, 443 + c->port_offset);
}

/* A name that is none of ours stays as it is. */
static enum err
append_value(const struct config *c, struct bytes name, struct bytes address, struct buf *out)
{
	static const struct {
		const char *name;
		unsigned port;
	} ports[] = {{"imaps", 993}, {"submissions", 465}, {"submission", 587}};
	for (size_t i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
		if (bytes_is(name, ports[i].name)) {
			return buf_append_u64(out, ports[i].port + c->port_offset);
		}
	}
	if (bytes_is(name, "domain")) {
		return buf_append_str(out, c->domain);
	}
	if (bytes_is(name, "host")) {
		return buf_append_str(out, c->hostname);
	}
	if (bytes_is(name, "web")) {
		return append_web(c, out);
	}
	return bytes_is(name, "address") ? buf_append_xml(out, address) : ERR_FORMAT;
}

enum err
web_fill(const struct config *c, const char *text, struct bytes address, struct buf *out)
{
	struct bytes rest = bytes_str(text);
	enum err e = ERR_OK;
	while (rest.len > 0 && e == ERR_OK) {
		ptrdiff_t open = bytes_find(rest, '{');
		ptrdiff_t close = open < 0 ? -1 : bytes_find(rest, '}');
		if (close < open) {
			close = -1;
		}
		e = buf_append(out, close < 0 ? rest : bytes_slice(rest, 0, (size_t)open));
		if (e == ERR_OK && close >= 0) {
			e = append_value(c, bytes_slice(rest, (size_t)open + 1, (size_t)(close - open) - 1),
					 address, out);
		}
		rest = close < 0 ? BYTES_EMPTY : bytes_from(rest, (size_t)close + 1);
	}
	return e;
}

bool
web_is_address(const struct config *c, struct bytes text)
{
	ptrdiff_t at = bytes_find_last(text, '@');
	if (at < 1 || at > 64 || !bytes_is_nocase(bytes_from(text, (size_t)at + 1), c->domain) ||
	    !bytes_is_utf8(text)) {
		return false;
	}
	for (size_t i = 0; i < (size_t)at; i++) {
		uint8_t ch = text.ptr[i];
		if (ch < 0x80 && !ascii_is_alnum(ch) && bytes_find(BYTES_LIT("._+-"), ch) < 0) {
			return false;
		}
	}
	return true;
}

/* ---- Thunderbird, K-9 and others ---- */

/*
 * SSL means TLS from the first byte. password-cleartext: inside of it; what it names password-encrypted is CRAM-MD5, and who
 * speaks SCRAM is offered it by the server.
 */
enum err
web_autoconfig(const struct config *c, struct buf *out)
{
	static const char text[] = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
				   "<clientConfig version=\"1.1\">\n"
				   "  <emailProvider id=\"{domain}\">\n"
				   "    <domain>{domain}</domain>\n"
				   "    <displayName>{domain}</displayName>\n"
				   "    <displayShortName>{domain}</displayShortName>\n"
				   "    <incomingServer type=\"imap\">\n"
				   "      <hostname>{host}</hostname>\n"
				   "      <port>{imaps}</port>\n"
				   "      <socketType>SSL</socketType>\n"
				   "      <authentication>password-cleartext</authentication>\n"
				   "      <username>%EMAILADDRESS%</username>\n"
				   "    </incomingServer>\n"
				   "    <outgoingServer type=\"smtp\">\n"
				   "      <hostname>{host}</hostname>\n"
				   "      <port>{submissions}</port>\n"
				   "      <socketType>SSL</socketType>\n"
				   "      <authentication>password-cleartext</authentication>\n"
				   "      <username>%EMAILADDRESS%</username>\n"
				   "    </outgoingServer>\n"
				   "    <outgoingServer type=\"smtp\">\n"
				   "      <hostname>{host}</hostname>\n"
				   "      <port>{submission}</port>\n"
				   "      <socketType>STARTTLS</socketType>\n"
				   "      <authentication>password-cleartext</authentication>\n"
				   "      <username>%EMAILADDRESS%</username>\n"
				   "    </outgoingServer>\n"
				   "    <documentation url=\"{web}/\">\n"
				   "      <descr lang=\"en\">The password is an application password: a "
				   "volunteer makes one for each "
				   "device, and not the main password.</descr>\n"
				   "    </documentation>\n"
				   "  </emailProvider>\n"
				   "</clientConfig>\n";
	return web_fill(c, text, BYTES_EMPTY, out);
}

/* ---- Outlook ---- */

/* The address in a request, if it is one of ours. */
static struct bytes
asked_address(const struct config *c, struct bytes body)
{
	static const char open[] = "<EMailAddress>";
	ptrdiff_t from = bytes_search(body, bytes_str(open));
	struct bytes rest = from < 0 ? BYTES_EMPTY : bytes_from(body, (size_t)from + sizeof(open) - 1);
	ptrdiff_t end = bytes_search(rest, BYTES_LIT("</EMailAddress>"));
	struct bytes text = end < 0 ? BYTES_EMPTY : bytes_trim(bytes_slice(rest, 0, (size_t)end));
	return web_is_address(c, text) ? text : BYTES_EMPTY;
}

/* [MS-OXDSCLI] section 2.2.4. Without LoginName the program takes the address. */
enum err
web_autodiscover(const struct config *c, struct bytes body, struct buf *out)
{
	static const char head[] =
	    "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"
	    "<Autodiscover "
	    "xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006\">\n"
	    "  <Response "
	    "xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a\">\n"
	    "    <Account>\n"
	    "      <AccountType>email</AccountType>\n"
	    "      <Action>settings</Action>\n";
	static const char imap[] = "      <Protocol>\n"
				   "        <Type>IMAP</Type>\n"
				   "        <Server>{host}</Server>\n"
				   "        <Port>{imaps}</Port>\n";
	static const char smtp[] = "      <Protocol>\n"
				   "        <Type>SMTP</Type>\n"
				   "        <Server>{host}</Server>\n"
				   "        <Port>{submissions}</Port>\n";
	static const char login[] = "        <LoginName>{address}</LoginName>\n";
	static const char security[] = "        <DomainRequired>off</DomainRequired>\n"
				       "        <SPA>off</SPA>\n"
				       "        <SSL>on</SSL>\n"
				       "        <Encryption>SSL</Encryption>\n"
				       "        <AuthRequired>on</AuthRequired>\n"
				       "      </Protocol>\n";
	static const char tail[] = "    </Account>\n  </Response>\n</Autodiscover>\n";
	struct bytes address = asked_address(c, body);
	const char *name = address.len > 0 ? login : "";
	const char *const parts[] = {head, imap, name, security, smtp, name, security, tail};
	enum err e = ERR_OK;
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && e == ERR_OK; i++) {
		e = web_fill(c, parts[i], address, out);
	}
	return e;
}

/* The newer question (Autodiscover v2): where is the older one answered? The address in it is not looked at. */
enum err
web_autodiscover_json(const struct config *c, struct bytes query, unsigned *ret_status, struct buf *out)
{
	struct buf protocol = BUF_INIT(64);
	bool known = http_query_value(query, "Protocol", &protocol) == ERR_OK &&
		     (protocol.len == 0 || bytes_is_nocase(buf_bytes(&protocol), "AutodiscoverV1"));
	buf_clear(&protocol);
	*ret_status = known ? 200 : 400;
	if (!known) {
		return buf_append_str(out, "{\"ErrorCode\":\"InvalidProtocol\",\"ErrorMessage\":\"This house "
					   "has AutodiscoverV1 alone.\"}\n");
	}
	enum err e = buf_append_str(out, "{\"Protocol\":\"AutodiscoverV1\",\"Url\":\"");
	e = e == ERR_OK ? append_web(c, out) : e;
	return e == ERR_OK ? buf_append_str(out, "/autodiscover/autodiscover.xml\"}\n") : e;
}

/* ---- Apple ---- */

/* The same for the same words, so that a profile that is installed again takes the older one's place. */
static enum err
append_uuid(const struct config *c, struct bytes address, const char *part, struct buf *out)
{
	uint8_t d[CRYPTO_HASH_LEN];
	struct crypto_hasher h;
	crypto_hasher_init(&h, NULL);
	crypto_hasher_update(&h, BYTES_LIT("cohue profile:"));
	crypto_hasher_update(&h, bytes_str(part));
	crypto_hasher_update(&h, BYTES_LIT(":"));
	crypto_hasher_update(&h, bytes_str(c->domain));
	crypto_hasher_update(&h, BYTES_LIT(":"));
	crypto_hasher_update(&h, address);
	crypto_hasher_final(&h, d);
	/* RFC 9562 section 5.8 */
	d[6] = (uint8_t)((d[6] & 0x0f) | 0x80);
	d[8] = (uint8_t)((d[8] & 0x3f) | 0x80);
	return buf_printf(out,
			  "<string>%02X%02X%02X%02X-%02X%02X-%02X%02X-%02X%02X-%02X%02X%02X%02X%02X%02X</"
			  "string>\n",
			  d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7], d[8], d[9], d[10], d[11], d[12],
			  d[13], d[14], d[15]);
}

enum err
web_apple_profile(const struct config *c, struct bytes address, struct buf *out)
{
	static const char head[] = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
				   "<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" "
				   "\"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n"
				   "<plist version=\"1.0\">\n<dict>\n"
				   "<key>PayloadType</key><string>Configuration</string>\n"
				   "<key>PayloadVersion</key><integer>1</integer>\n"
				   "<key>PayloadIdentifier</key><string>{host}.mail</string>\n"
				   "<key>PayloadDisplayName</key><string>Mail of {domain}</string>\n"
				   "<key>PayloadDescription</key><string>Sets up mail of {domain}. The "
				   "password that is asked for is an "
				   "application password: a volunteer makes one for each device.</string>\n"
				   "<key>PayloadOrganization</key><string>{domain}</string>\n"
				   "<key>PayloadRemovalDisallowed</key><false/>\n"
				   "<key>PayloadUUID</key>";
	static const char account[] =
	    "<key>PayloadContent</key>\n<array>\n<dict>\n"
	    "<key>PayloadType</key><string>com.apple.mail.managed</string>\n"
	    "<key>PayloadVersion</key><integer>1</integer>\n"
	    "<key>PayloadIdentifier</key><string>{host}.mail.account</string>\n"
	    "<key>PayloadDisplayName</key><string>{domain}</string>\n"
	    "<key>EmailAccountDescription</key><string>{domain}</string>\n"
	    "<key>EmailAccountType</key><string>EmailTypeIMAP</string>\n"
	    "<key>IncomingMailServerAuthentication</key><string>EmailAuthPassword</string>\n"
	    "<key>IncomingMailServerHostName</key><string>{host}</string>\n"
	    "<key>IncomingMailServerPortNumber</key><integer>{imaps}</integer>\n"
	    "<key>IncomingMailServerUseSSL</key><true/>\n"
	    "<key>OutgoingMailServerAuthentication</key><string>EmailAuthPassword</string>\n"
	    "<key>OutgoingMailServerHostName</key><string>{host}</string>\n"
	    "<key>OutgoingMailServerPortNumber</key><integer>{submissions}</integer>\n"
	    "<key>OutgoingMailServerUseSSL</key><true/>\n"
	    "<key>OutgoingPasswordSameAsIncomingPassword</key><true/>\n";
	static const char names[] = "<key>EmailAddress</key><string>{address}</string>\n"
				    "<key>IncomingMailServerUsername</key><string>{address}</string>\n"
				    "<key>OutgoingMailServerUsername</key><string>{address}</string>\n";
	static const char tail[] = "</dict>\n</array>\n</dict>\n</plist>\n";
	enum err e = web_fill(c, head, address, out);
	e = e == ERR_OK ? append_uuid(c, address, "profile", out) : e;
	e = e == ERR_OK ? web_fill(c, account, address, out) : e;
	/* Without them the device asks. */
	e = e == ERR_OK && address.len > 0 ? web_fill(c, names, address, out) : e;
	e = e == ERR_OK ? buf_append_str(out, "<key>PayloadUUID</key>") : e;
	e = e == ERR_OK ? append_uuid(c, address, "account", out) : e;
	return e == ERR_OK ? buf_append_str(out, tail) : e;
}
