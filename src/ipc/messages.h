/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_IPC_MESSAGES_H
#define COHUE_IPC_MESSAGES_H

#include "base/bytes.h"
#include "ipc/roles.h"

/*
 * The one table of what processes may say to each other. It is the security policy: a
 * message from a role, to a role, of a size, with a descriptor, or with a reply that the
 * table does not allow ends the peer.
 *
 * Each row: NAME, name, who sends, who receives, the largest payload, kind, descriptor.
 * The fields of each payload follow below the table; encoders and decoders are generated from
 * them. A decoder demands every field and the end of the payload. `bytes` fields borrow
 * from the payload. Lists travel inside a `bytes` field; their form is said beside it.
 */

enum {
	IPC_ACCOUNT = 16,
	IPC_UNIT = 16,
	IPC_BLOB = 16,
	IPC_KEY = 32,
	IPC_HEAD = 32,
	IPC_TOKEN = 16,
	IPC_SCRAM_NONCE = 48, /* printable octets */
	IPC_PAYLOAD_MAX = 1 << 20,
	IPC_UNIT_MAX = 8 << 20, /* of a unit with all its parts; no message is larger */
	IPC_SMALL = 16 * 1024,
	IPC_CHUNK = 65536 + 1024, /* one blob chunk and its names */
};

enum ipc_kind {
	IPC_REQUEST = 1, /* one reply comes back, with a status */
	IPC_NOTICE = 2,  /* none does */
};

enum ipc_protocol {
	IPC_PROTOCOL_IMAP = 1,
	IPC_PROTOCOL_SUBMISSION = 2,
};

/* What kind of part waits in a unit. */
enum ipc_part_kind {
	IPC_PART_COURIER = 1, /* sealed to the spool's public key */
	IPC_PART_ARRIVAL = 2, /* sealed to a member's public key */
	/* The author's copy of a leaving message, sealed to her: enters her log when the unit is put. At most one, the last part. */
	IPC_PART_SENT = 3,
};

/* What a courier part comes to in one attempt, as the lines show it. */
enum ipc_delivery {
	IPC_DELIVERY_NONE = 0,   /* taken by nobody */
	IPC_DELIVERY_HIDDEN = 1, /* taken; its size showed its class alone */
	IPC_DELIVERY_SHOWN = 2,  /* taken; it could not be padded (TLS 1.2, in clear): void for size */
};

enum ipc_stage {
	IPC_STAGE_LEAVING = 1,
	IPC_STAGE_ARRIVING = 2,
	IPC_STAGE_FORWARDING =
	    3, /* leaves, as automatic mail: a copy, that a member has sent on, of what came from outside */
};

#define R_SUP ROLE_BIT(ROLE_SUPERVISOR)
#define R_KEEPER ROLE_BIT(ROLE_KEEPER)
#define R_STORE ROLE_BIT(ROLE_STORE)
#define R_RESOLVER ROLE_BIT(ROLE_RESOLVER)
#define R_FETCHER ROLE_BIT(ROLE_FETCHER)
#define R_MIXER ROLE_BIT(ROLE_MIXER)
#define R_COURIER ROLE_BIT(ROLE_COURIER)
#define R_OPENER ROLE_BIT(ROLE_OPENER)
#define R_SESSION ROLE_BIT(ROLE_SESSION)
#define R_GATE_MEMBER ROLE_BIT(ROLE_GATE_MEMBER)
#define R_GATE_MX ROLE_BIT(ROLE_GATE_MX)
#define R_ALL (~R_SUP & (ROLE_BIT(ROLE__COUNT) - 2U))

/* clang-format off */
#define IPC_MESSAGES(M) \
	/* The supervisor and its children. */ \
	M(SETUP,           setup,           R_SUP,                      R_ALL,      IPC_SMALL * 8, IPC_NOTICE,  0) \
	M(CHANNEL,         channel,         R_SUP,                      R_ALL,      16,            IPC_NOTICE,  1) \
	M(LISTEN,          listen,          R_SUP,                      R_GATE_MX | R_GATE_MEMBER, 16, IPC_NOTICE, 1) \
	M(HOUSE_KEY,       house_key,       R_SUP,                      R_KEEPER,   256,           IPC_NOTICE,  0) \
	M(TLS_FILES,       tls_files,       R_SUP,                      R_KEEPER,   IPC_SMALL * 12, IPC_REQUEST, 0) \
	M(DKIM_FILE,       dkim_file,       R_SUP,                      R_KEEPER,   IPC_SMALL * 3, IPC_NOTICE,  0) \
	M(DKIM_CHANGE,     dkim_change,     R_SUP,                      R_KEEPER,   IPC_SMALL * 3, IPC_REQUEST, 0) \
	M(ACME_ACCOUNT,    acme_account,    R_SUP,                      R_KEEPER,   IPC_SMALL,     IPC_NOTICE,  0) \
	M(ACME_SAVE,       acme_save,       R_KEEPER,                   R_SUP,      IPC_SMALL * 5, IPC_NOTICE,  0) \
	M(ACME_SAVED,      acme_saved,      R_SUP,                      R_KEEPER,   16,            IPC_NOTICE,  0) \
	M(ACME_RENEW,      acme_renew,      R_SUP,                      R_FETCHER,  1024,          IPC_REQUEST, 0) \
	M(GO,              go,              R_SUP,                      R_ALL,      0,             IPC_NOTICE,  0) \
	M(SANDBOXED,       sandboxed,       R_ALL,                      R_SUP,      0,             IPC_NOTICE,  0) \
	M(READY,           ready,           R_ALL,                      R_SUP,      0,             IPC_NOTICE,  0) \
	M(STOP,            stop,            R_SUP,                      R_ALL,      0,             IPC_NOTICE,  0) \
	M(PEER_FAULT,      peer_fault,      R_ALL,                      R_SUP,      16,            IPC_NOTICE,  0) \
	M(PEER_LOST,       peer_lost,       R_ALL,                      R_SUP,      16,            IPC_NOTICE,  0) \
	M(STATUS,          status,          R_SUP,                      R_ALL,      IPC_SMALL,     IPC_REQUEST, 0) \
	M(CONTROL,         control,         R_SUP,                      R_OPENER,   IPC_SMALL * 4, IPC_REQUEST, 0) \
	/* The keeper. */ \
	M(PURPOSE_KEYS,    purpose_keys,    R_GATE_MX | R_OPENER | R_SESSION | R_MIXER | R_COURIER, R_KEEPER, 1024, IPC_REQUEST, 0) \
	M(TLS_CHAIN,       tls_chain,       R_GATE_MX | R_GATE_MEMBER,  R_KEEPER,   IPC_SMALL * 8, IPC_REQUEST, 0) \
	M(TLS_SIGN,        tls_sign,        R_GATE_MX | R_GATE_MEMBER,  R_KEEPER,   1024,          IPC_REQUEST, 0) \
	M(TLS_CHANGED,     tls_changed,     R_KEEPER,                   R_GATE_MX | R_GATE_MEMBER, 0, IPC_NOTICE, 0) \
	M(ACME_STATE,      acme_state,      R_FETCHER,                  R_KEEPER,   IPC_SMALL,     IPC_REQUEST, 0) \
	M(ACME_SIGN,       acme_sign,       R_FETCHER,                  R_KEEPER,   IPC_SMALL,     IPC_REQUEST, 0) \
	M(ACME_CHAIN,      acme_chain,      R_FETCHER,                  R_KEEPER,   IPC_SMALL * 5, IPC_REQUEST, 0) \
	M(ACME_VOUCH,      acme_vouch,      R_GATE_MEMBER,              R_KEEPER,   64,            IPC_REQUEST, 0) \
	M(SIGN_PUBLIC,     sign_public,     R_OPENER,                   R_KEEPER,   256,           IPC_REQUEST, 0) \
	M(SIGN_FORWARDS,   sign_forwards,   R_OPENER,                   R_KEEPER,   64,            IPC_REQUEST, 0) \
	M(SPOOL_KEY_NEW,   spool_key_new,   R_MIXER,                    R_KEEPER,   1024,          IPC_REQUEST, 0) \
	M(SPOOL_KEY_LOAD,  spool_key_load,  R_MIXER,                    R_KEEPER,   1024,          IPC_REQUEST, 0) \
	M(SPOOL_KEY_DROP,  spool_key_drop,  R_MIXER,                    R_KEEPER,   16,            IPC_REQUEST, 0) \
	M(SPOOL_KEY_CURRENT, spool_key_current, R_SESSION | R_GATE_MX | R_COURIER, R_KEEPER,   64,            IPC_REQUEST, 0) \
	M(SPOOL_KEY_SECRET, spool_key_secret, R_COURIER,                R_KEEPER,   128,           IPC_REQUEST, 0) \
	M(DKIM_SELECTORS,  dkim_selectors,  R_COURIER,                  R_KEEPER,   256,           IPC_REQUEST, 0) \
	M(DKIM_SIGN,       dkim_sign,       R_COURIER,                  R_KEEPER,   1024,          IPC_REQUEST, 0) \
	/* The store. */ \
	M(DIRECTORY_GET,   directory_get,   R_GATE_MX | R_OPENER | R_SESSION, R_STORE, IPC_CHUNK,  IPC_REQUEST, 0) \
	M(DIRECTORY_WRITE, directory_write, R_OPENER,                   R_STORE,    IPC_PAYLOAD_MAX, IPC_REQUEST, 0) \
	M(DIRECTORY_WALK,  directory_walk,  R_OPENER,                   R_STORE,    IPC_PAYLOAD_MAX, IPC_REQUEST, 0) \
	M(ACCOUNT_DELETE,  account_delete,  R_OPENER,                   R_STORE,    64,            IPC_REQUEST, 0) \
	M(BLOB_NAMES,      blob_names,      R_OPENER,                   R_STORE,    IPC_PAYLOAD_MAX, IPC_REQUEST, 0) \
	M(BLOBS_DELETE,    blobs_delete,    R_OPENER,                   R_STORE,    IPC_PAYLOAD_MAX, IPC_REQUEST, 0) \
	M(LOG_HEAD,        log_head,        R_GATE_MX | R_OPENER | R_SESSION, R_STORE, 128,        IPC_REQUEST, 0) \
	M(LOG_READ,        log_read,        R_SESSION,                  R_STORE,    IPC_PAYLOAD_MAX, IPC_REQUEST, 0) \
	M(LOG_READ_MANY,   log_read_many,   R_SESSION,                  R_STORE,    IPC_PAYLOAD_MAX, IPC_REQUEST, 0) \
	M(LOG_APPEND,      log_append,      R_SESSION,                  R_STORE,    IPC_PAYLOAD_MAX, IPC_REQUEST, 0) \
	M(LOG_DELETE,      log_delete,      R_SESSION,                  R_STORE,    IPC_PAYLOAD_MAX, IPC_REQUEST, 0) \
	M(LOG_CHANGED,     log_changed,     R_STORE,                    R_SESSION,  128,           IPC_NOTICE,  0) \
	M(SNAPSHOT_PUT,    snapshot_put,    R_SESSION,                  R_STORE,    128,           IPC_REQUEST, 0) \
	M(SNAPSHOT_GET,    snapshot_get,    R_SESSION,                  R_STORE,    128,           IPC_REQUEST, 0) \
	M(BLOB_PUT,        blob_put,        R_SESSION | R_MIXER,        R_STORE,    IPC_CHUNK,     IPC_REQUEST, 0) \
	M(BLOB_GET,        blob_get,        R_SESSION | R_MIXER,        R_STORE,    IPC_PAYLOAD_MAX, IPC_REQUEST, 0) \
	M(BLOB_GET_MANY,   blob_get_many,   R_SESSION,                  R_STORE,    IPC_PAYLOAD_MAX, IPC_REQUEST, 0) \
	M(SPOOL_PUT,       spool_put,       R_MIXER,                    R_STORE,    IPC_UNIT_MAX, IPC_REQUEST, 0) \
	M(SPOOL_BATCH,     spool_batch,     R_MIXER,                    R_STORE,    IPC_UNIT_MAX, IPC_REQUEST, 0) \
	M(SPOOL_PART_GET,  spool_part_get,  R_MIXER,                    R_STORE,    IPC_PAYLOAD_MAX, IPC_REQUEST, 0) \
	M(SPOOL_WALK,      spool_walk,      R_MIXER,                    R_STORE,    IPC_PAYLOAD_MAX, IPC_REQUEST, 0) \
	M(SPOOL_KEYS,      spool_keys,      R_MIXER,                    R_STORE,    IPC_PAYLOAD_MAX, IPC_REQUEST, 0) \
	M(META_GET,        meta_get,        R_MIXER | R_OPENER,         R_STORE,    IPC_CHUNK,     IPC_REQUEST, 0) \
	M(META_PUT,        meta_put,        R_MIXER | R_OPENER,         R_STORE,    IPC_CHUNK,     IPC_REQUEST, 0) \
	/* The mixer. */ \
	M(MIX_BLOB,        mix_blob,        R_GATE_MX | R_COURIER,      R_MIXER,    IPC_CHUNK,     IPC_REQUEST, 0) \
	M(MIX_PUT,         mix_put,         R_GATE_MX | R_SESSION | R_COURIER, R_MIXER,    IPC_UNIT_MAX, IPC_REQUEST, 0) \
	M(HOUSE,           house,           R_OPENER,                   R_MIXER,    16,            IPC_NOTICE,  0) \
	/* The courier. */ \
	M(COURIER_WORK,    courier_work,    R_MIXER,                    R_COURIER,  IPC_PAYLOAD_MAX, IPC_NOTICE, 0) \
	M(COURIER_BLOB,    courier_blob,    R_COURIER,                  R_MIXER,    IPC_PAYLOAD_MAX, IPC_REQUEST, 0) \
	M(COURIER_VERDICT, courier_verdict, R_COURIER,                  R_MIXER,    IPC_PAYLOAD_MAX, IPC_REQUEST, 0) \
	M(RESOLVE,         resolve,         R_COURIER | R_GATE_MX | R_FETCHER, R_RESOLVER, IPC_CHUNK,     IPC_REQUEST, 0) \
	M(FETCH,           fetch,           R_COURIER | R_GATE_MX,      R_FETCHER,  IPC_UNIT_MAX,  IPC_REQUEST, 0) \
	M(KEPT_GET,        kept_get,        R_COURIER | R_GATE_MX | R_SESSION, R_MIXER, IPC_CHUNK,     IPC_REQUEST, 0) \
	M(KEPT_PUT,        kept_put,        R_COURIER | R_GATE_MX | R_SESSION, R_MIXER, IPC_CHUNK,     IPC_REQUEST, 0) \
	M(REPORT_ROWS,     report_rows,     R_GATE_MX,                  R_COURIER,  IPC_PAYLOAD_MAX, IPC_NOTICE, 0) \
	M(ACME_CHALLENGE,  acme_challenge,  R_FETCHER,                  R_GATE_MEMBER, 2048,       IPC_REQUEST, 0) \
	/* Members. */ \
	M(LOGIN,           login,           R_GATE_MEMBER,              R_OPENER,   IPC_SMALL,     IPC_REQUEST, 0) \
	M(SCRAM_FIRST,     scram_first,     R_GATE_MEMBER,              R_OPENER,   IPC_SMALL,     IPC_REQUEST, 0) \
	M(SCRAM_FINAL,     scram_final,     R_GATE_MEMBER,              R_OPENER,   IPC_SMALL,     IPC_REQUEST, 0) \
	M(MEMBER_OPEN,     member_open,     R_OPENER,                   R_SESSION,  IPC_CHUNK,     IPC_REQUEST, 0) \
	M(MEMBER_CLOSE,    member_close,    R_OPENER,                   R_SESSION,  64,            IPC_REQUEST, 0) \
	M(MEMBER_HOLD,     member_hold,     R_SESSION,                  R_OPENER,   128,           IPC_NOTICE,  0) \
	M(CONN_OPEN,       conn_open,       R_GATE_MEMBER,              R_SESSION,  IPC_SMALL,     IPC_NOTICE,  0) \
	M(CONN_DATA,       conn_data,       R_GATE_MEMBER | R_SESSION,  R_SESSION | R_GATE_MEMBER, IPC_CHUNK, IPC_NOTICE, 0) \
	M(CONN_FLUSH,      conn_flush,      R_SESSION,                  R_GATE_MEMBER, 16,         IPC_NOTICE,  0) \
	M(CONN_CREDIT,     conn_credit,     R_GATE_MEMBER | R_SESSION,  R_SESSION | R_GATE_MEMBER, 16, IPC_NOTICE, 0) \
	M(CONN_CLOSE,      conn_close,      R_GATE_MEMBER | R_SESSION,  R_SESSION | R_GATE_MEMBER, 16, IPC_NOTICE, 0)

/*
 * Fields. U8..U64(name), FIX(name, bytes), BYTES(name). X_REPLY is the payload of a reply whose
 * status is ERR_OK; any other status has none.
 */
#define MSG_SETUP_FIELDS(U8, U16, U32, U64, FIX, BYTES)   U8(role) U16(index) BYTES(config) BYTES(account_data)
/* life: counts the channels between these two */
#define MSG_CHANNEL_FIELDS(U8, U16, U32, U64, FIX, BYTES) U8(peer) U16(index) U32(life)
#define MSG_LISTEN_FIELDS(U8, U16, U32, U64, FIX, BYTES)  U16(port) /* 25, 465, 587, 993, 443, 80: the service, wherever it listens */
#define MSG_HOUSE_KEY_FIELDS(U8, U16, U32, U64, FIX, BYTES) FIX(key, 32)
/* Of gate-mx and of gate-member: taken both, or none. sealed 1: the key is wrapped under tls-wrap; 0: PEM, from outside HOME. */
#define MSG_TLS_FILES_FIELDS(U8, U16, U32, U64, FIX, BYTES) U8(mx_sealed) BYTES(mx_key) BYTES(mx_chain) U8(member_sealed) BYTES(member_key) BYTES(member_chain) BYTES(mx_next) BYTES(member_next)
/* problem: empty where they were taken, else one line for the volunteer */
#define MSG_TLS_FILES_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(problem)
/* HOME/dkim.keys: what is signed with from now on. */
#define MSG_DKIM_FILE_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(file)
/*
 * What the file (empty: there is none yet) becomes by op: 0 tidied (and made), 1 with a next pair, 2 with that pair
 * signing at once. Nothing changes until the supervisor has it on disk and says DKIM_FILE. ERR_EXISTS, ERR_NOT_FOUND, ERR_LIMIT as
 * of dkim/ring.h; ERR_AUTH, ERR_FORMAT where the file does not open.
 */
#define MSG_DKIM_CHANGE_FIELDS(U8, U16, U32, U64, FIX, BYTES) U8(op) BYTES(file)
#define MSG_DKIM_CHANGE_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(file)
/* The key of the house's account with a certificate authority, wrapped under tls-wrap, as ACME_SAVE gave it. */
#define MSG_ACME_ACCOUNT_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(key)
/* Into HOME/tls; ACME_SAVED says what came of it, once for each. what: enum acme_file */
#define MSG_ACME_SAVE_FIELDS(U8, U16, U32, U64, FIX, BYTES) U8(what) BYTES(data)
#define MSG_ACME_SAVED_FIELDS(U8, U16, U32, U64, FIX, BYTES) U8(what) U8(good)
/* Now, for a volunteer; answered when it is done. problem: empty, or one line */
#define MSG_ACME_RENEW_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(problem)
/*
 * certificates: list of {u8 kind (enum acme_kind), u8 of an authority, u64 not before, u64 not after (ms since 1970), bytes names for it,
 * separated by blanks, next [32]: the id (SHA-256 of the public key) of the key that comes next, zeros: there is none}, of those that ACME
 * looks after. ERR_AGAIN: a key of the account or the next one is being made. ERR_IO: it could not be saved, and is tried again at the next question.
 */
#define MSG_ACME_STATE_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(certificates)
/*
 * A request of RFC 8555, which the keeper writes whole: what (enum acme_request); without: bit n leaves out name n of this certificate, never
 * the first; next: for the key that comes next, not the one in use; account: its URL, empty for ACME_NEW_ACCOUNT.
 */
#define MSG_ACME_SIGN_FIELDS(U8, U16, U32, U64, FIX, BYTES) U8(what) U8(kind) U8(without) U8(next) BYTES(url) BYTES(nonce) BYTES(account)
#define MSG_ACME_SIGN_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(body)
/* ERR_DAMAGED: no chain; ERR_AUTH: of another key; ERR_STATE: not in force by this clock; ERR_DENIED: it lacks a name, has others, or is of no authority. */
#define MSG_ACME_CHAIN_FIELDS(U8, U16, U32, U64, FIX, BYTES) U8(kind) U8(without) U8(next) BYTES(chain_pem)
/*
 * kind: enum acme_challenge; on: 0: no longer. Whose account is proved is not the fetcher's to say: the gate asks the keeper (ACME_VOUCH) and
 * writes the key authorisation (RFC 8555 section 8.1) itself.
 */
#define MSG_ACME_CHALLENGE_FIELDS(U8, U16, U32, U64, FIX, BYTES) U8(kind) U8(on) BYTES(name) BYTES(token)
/* thumbprint: of the house's account with the authority (RFC 7638). ERR_DENIED: acme is off, or no order was signed within the hour. */
#define MSG_ACME_VOUCH_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) FIX(thumbprint, 32)
#define MSG_GO_FIELDS(U8, U16, U32, U64, FIX, BYTES)
/* Set up and in the sandbox: descriptors may come now. */
#define MSG_SANDBOXED_FIELDS(U8, U16, U32, U64, FIX, BYTES)
#define MSG_READY_FIELDS(U8, U16, U32, U64, FIX, BYTES)
#define MSG_STOP_FIELDS(U8, U16, U32, U64, FIX, BYTES)
#define MSG_PEER_FAULT_FIELDS(U8, U16, U32, U64, FIX, BYTES) U8(peer) U16(index)
/* The channel of this life to the peer has ended, by no fault. */
#define MSG_PEER_LOST_FIELDS(U8, U16, U32, U64, FIX, BYTES) U8(peer) U16(index) U32(life)
#define MSG_STATUS_FIELDS(U8, U16, U32, U64, FIX, BYTES)
#define MSG_STATUS_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(text) /* lines "name value" */
/* A request of the CLI; src/control/control.h gives the form of both. */
#define MSG_CONTROL_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(request)
#define MSG_CONTROL_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(answer)

#define MSG_PURPOSE_KEYS_FIELDS(U8, U16, U32, U64, FIX, BYTES)
/* list of {u8 purpose (sealed/keys.h), 32 bytes}: those that the asking role may have */
#define MSG_PURPOSE_KEYS_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(keys)
#define MSG_TLS_CHAIN_FIELDS(U8, U16, U32, U64, FIX, BYTES)
#define MSG_TLS_CHAIN_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(chain_pem)
/* key: TLS_KEY_ID of the certificate that is shown; scheme: RFC 8446 section 4.2.3; content: keeper/tls_content.h says what is signed */
#define MSG_TLS_SIGN_FIELDS(U8, U16, U32, U64, FIX, BYTES) FIX(key, 32) U16(scheme) BYTES(content)
#define MSG_TLS_SIGN_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(signature)
/* Ask for the chain anew. */
#define MSG_TLS_CHANGED_FIELDS(U8, U16, U32, U64, FIX, BYTES)
/* mac: empty, or that of an entry made before there were signatures, which is signed only where it fits: else ERR_AUTH. */
#define MSG_SIGN_PUBLIC_FIELDS(U8, U16, U32, U64, FIX, BYTES) FIX(account, IPC_ACCOUNT) U32(generation) FIX(public_key, 32) BYTES(mac)
#define MSG_SIGN_PUBLIC_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) FIX(signature, 64)
/* Where a member has her mail sent on; list: forward_list_hash. */
#define MSG_SIGN_FORWARDS_FIELDS(U8, U16, U32, U64, FIX, BYTES) FIX(account, IPC_ACCOUNT) FIX(list, 32)
#define MSG_SIGN_FORWARDS_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) FIX(signature, 64)
#define MSG_SPOOL_KEY_NEW_FIELDS(U8, U16, U32, U64, FIX, BYTES) U32(epoch)
#define MSG_SPOOL_KEY_NEW_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) FIX(public_key, 32) BYTES(wrapped)
#define MSG_SPOOL_KEY_LOAD_FIELDS(U8, U16, U32, U64, FIX, BYTES) U32(epoch) FIX(public_key, 32) BYTES(wrapped)
#define MSG_SPOOL_KEY_LOAD_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES)
#define MSG_SPOOL_KEY_DROP_FIELDS(U8, U16, U32, U64, FIX, BYTES) U32(epoch)
#define MSG_SPOOL_KEY_DROP_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES)
#define MSG_SPOOL_KEY_CURRENT_FIELDS(U8, U16, U32, U64, FIX, BYTES)
#define MSG_SPOOL_KEY_CURRENT_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) U32(epoch) FIX(public_key, 32)
#define MSG_SPOOL_KEY_SECRET_FIELDS(U8, U16, U32, U64, FIX, BYTES) U32(epoch)
#define MSG_SPOOL_KEY_SECRET_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) FIX(public_key, 32) FIX(secret_key, 32)

/* Those to sign with now. ERR_AGAIN: the keys have not come yet. */
#define MSG_DKIM_SELECTORS_FIELDS(U8, U16, U32, U64, FIX, BYTES)
#define MSG_DKIM_SELECTORS_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(rsa) BYTES(ed25519)
/* The SHA-256 of a message's canonical header; nothing else is ever signed. ERR_NOT_FOUND: that selector signs no more. */
#define MSG_DKIM_SIGN_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(selector) FIX(digest, 32)
#define MSG_DKIM_SIGN_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(signature)

#define MSG_DIRECTORY_GET_FIELDS(U8, U16, U32, U64, FIX, BYTES) FIX(key, IPC_KEY)
#define MSG_DIRECTORY_GET_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(value)
/* ops: list of {u8 op: 1 put, 2 create, 3 delete; 32-byte key; bytes value}; all or none. op 4: the account of the 16-byte value
 * is known from now on (key unused): what is for others is refused. */
#define MSG_DIRECTORY_WRITE_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(ops)
#define MSG_DIRECTORY_WRITE_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES)
/* rows after the key (all zero: from the first): list of {32-byte key, bytes value}, by key */
#define MSG_DIRECTORY_WALK_FIELDS(U8, U16, U32, U64, FIX, BYTES) FIX(after, IPC_KEY)
#define MSG_DIRECTORY_WALK_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) U8(more) BYTES(rows)
#define MSG_ACCOUNT_DELETE_FIELDS(U8, U16, U32, U64, FIX, BYTES) FIX(account, IPC_ACCOUNT)
#define MSG_ACCOUNT_DELETE_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES)
/* Names behind the one named (all zero: from the first), 16 bytes each. */
#define MSG_BLOB_NAMES_FIELDS(U8, U16, U32, U64, FIX, BYTES) FIX(after, IPC_BLOB)
#define MSG_BLOB_NAMES_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) U8(more) BYTES(names)
#define MSG_BLOBS_DELETE_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(names)
#define MSG_BLOBS_DELETE_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES)
#define MSG_LOG_HEAD_FIELDS(U8, U16, U32, U64, FIX, BYTES) FIX(account, IPC_ACCOUNT)
/* epoch: higher than before where an older copy of the store was put back (`cohue restored`); 0: never */
#define MSG_LOG_HEAD_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) U64(n) FIX(head, IPC_HEAD) U64(used) U32(epoch)
/* Records from n `from` on, until about max_bytes; rows: list of {u64 n, 32-byte head before, u8 kind, bytes body} */
#define MSG_LOG_READ_FIELDS(U8, U16, U32, U64, FIX, BYTES) FIX(account, IPC_ACCOUNT) U64(from) U32(max_bytes)
#define MSG_LOG_READ_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) U8(more) BYTES(rows)
/* ns: u64s. Answers the first ones that fit into about max_bytes; one that is not there has kind 0 and no body. */
#define MSG_LOG_READ_MANY_FIELDS(U8, U16, U32, U64, FIX, BYTES) FIX(account, IPC_ACCOUNT) U32(max_bytes) BYTES(ns)
#define MSG_LOG_READ_MANY_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(rows)
/* bodies: list of bytes, one per session record; claims: blob names; drops: blob names to delete; used_delta: two's complement.
 * ERR_CONFLICT: another head. */
#define MSG_LOG_APPEND_FIELDS(U8, U16, U32, U64, FIX, BYTES) \
	FIX(account, IPC_ACCOUNT) FIX(expected, IPC_HEAD) U64(used_delta) BYTES(bodies) BYTES(claims) BYTES(drops)
#define MSG_LOG_APPEND_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) U64(n) FIX(head, IPC_HEAD) U64(used)
/* Deletes records (ns: u64s) and blobs (names) that no mailbox needs any more. */
#define MSG_LOG_DELETE_FIELDS(U8, U16, U32, U64, FIX, BYTES) FIX(account, IPC_ACCOUNT) BYTES(ns) BYTES(blobs)
#define MSG_LOG_DELETE_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES)
#define MSG_LOG_CHANGED_FIELDS(U8, U16, U32, U64, FIX, BYTES) FIX(account, IPC_ACCOUNT) U64(n)
#define MSG_SNAPSHOT_PUT_FIELDS(U8, U16, U32, U64, FIX, BYTES) FIX(account, IPC_ACCOUNT) U64(n) FIX(blob, IPC_BLOB) U64(keep)
#define MSG_SNAPSHOT_PUT_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES)
#define MSG_SNAPSHOT_GET_FIELDS(U8, U16, U32, U64, FIX, BYTES) FIX(account, IPC_ACCOUNT) U64(below)
#define MSG_SNAPSHOT_GET_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) U64(n) FIX(blob, IPC_BLOB) U64(older)
#define MSG_BLOB_PUT_FIELDS(U8, U16, U32, U64, FIX, BYTES) FIX(blob, IPC_BLOB) U32(chunk) BYTES(data)
#define MSG_BLOB_PUT_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES)
/* Chunks `first` .. `first + count - 1` (count <= 8); chunks: list of bytes, fewer where the blob ends */
#define MSG_BLOB_GET_FIELDS(U8, U16, U32, U64, FIX, BYTES) FIX(blob, IPC_BLOB) U32(first) U32(count)
#define MSG_BLOB_GET_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(chunks)
/* The first chunk of each of these (at most BLOB_GET_MANY_MAX), in this order, as far as the answer holds: list of {u8 found, bytes chunk} */
#define MSG_BLOB_GET_MANY_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(names)
#define MSG_BLOB_GET_MANY_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(chunks)
/* parts: list of bytes; claims: blob names; charges: list of {16-byte account, u64 size, u64 quota (0: none)}. ERR_QUOTA. */
#define MSG_SPOOL_PUT_FIELDS(U8, U16, U32, U64, FIX, BYTES) FIX(unit, IPC_UNIT) BYTES(state) BYTES(parts) BYTES(claims) BYTES(charges)
#define MSG_SPOOL_PUT_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES)
/* ops, all in one transaction: list of {u8 op (enum spool_op), ...}; see below */
#define MSG_SPOOL_BATCH_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(ops)
/* left: releases that were left out, as is the deletion of their units, because of the damage of their logs */
#define MSG_SPOOL_BATCH_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) U32(left)
#define MSG_SPOOL_PART_GET_FIELDS(U8, U16, U32, U64, FIX, BYTES) FIX(unit, IPC_UNIT) U32(part)
#define MSG_SPOOL_PART_GET_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(body)
/* Units after the one named (all zero: from the first): list of {16-byte unit, bytes state} */
#define MSG_SPOOL_WALK_FIELDS(U8, U16, U32, U64, FIX, BYTES) FIX(after, IPC_UNIT)
#define MSG_SPOOL_WALK_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) U8(more) BYTES(rows)
/* op: 0 walk (rows: list of {u32 epoch, bytes value}), 1 put, 2 delete */
#define MSG_SPOOL_KEYS_FIELDS(U8, U16, U32, U64, FIX, BYTES) U8(op) U32(epoch) BYTES(value)
#define MSG_SPOOL_KEYS_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(rows)
#define MSG_META_GET_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(name)
#define MSG_META_GET_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(value)
#define MSG_META_PUT_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(name) BYTES(value)
#define MSG_META_PUT_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES)

#define MSG_MIX_BLOB_FIELDS(U8, U16, U32, U64, FIX, BYTES) FIX(blob, IPC_BLOB) U32(chunk) BYTES(data)
#define MSG_MIX_BLOB_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES)
/*
 * A message with all its recipients. stage: enum ipc_stage. sender: account of a leaving unit (of a forwarding one: who has it sent on), else zero;
 * the courier's own (reports to others) have none, tell nobody, and count for nothing. source: keyed hash of the
 * sending host of an arriving one, else zero. size: as transferred (dots doubled) with room for what the house adds, octets: gives
 * the size class (law/law.h). weight: destination hosts (1 for arrivals). lane: enum law_lane. counts: 0 for automatic mail.
 * hold: ms that it must wait before its wait begins (RFC 4865), or 0. since_day: the author's account was made, days since 1970.
 * generation, public_key: the author's, for her journal; generation 0: nobody to tell.
 * parts: list of {u8 enum ipc_part_kind, 16-byte account (of an arrival), 16-byte blob, u64 stored size, u64 quota,
 * u32 spool key epoch (of a courier's part), bytes body}. Answered when it is on disk. ERR_QUOTA, ERR_FULL, ERR_AGAIN.
 * A unit of this name that is there already, or was a short while ago, is answered as if it had just been put.
 */
#define MSG_MIX_PUT_FIELDS(U8, U16, U32, U64, FIX, BYTES) \
	FIX(unit, IPC_UNIT) U8(stage) FIX(sender, IPC_ACCOUNT) FIX(source, 32) U64(size) U16(weight) U8(lane) U8(counts) \
	U64(hold) U32(since_day) U32(generation) FIX(public_key, 32) BYTES(parts)
/* Who may count towards the gate: members in all, and those whose account is older than 30 days on that day, and the day on
 * which the house's first account was made. Said at start, after each change, and at each new day. */
#define MSG_HOUSE_FIELDS(U8, U16, U32, U64, FIX, BYTES) U32(members) U32(counting) U32(first_day)
#define MSG_MIX_PUT_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES)

/*
 * age: ms since its first release; attempt: 0 for the first; warned: the delay warning has been sent.
 * left: its first release, wall clock, ms: what Date says, the same for all recipients and attempts. batch_id: works of one tick,
 * whose connections live no longer than it. size_class: what it is padded to at least. is_void, crowd, batch: of its first
 * release (struct law_release). strange: of a forwarding unit: the house never signs it as its own.
 */
#define MSG_COURIER_WORK_FIELDS(U8, U16, U32, U64, FIX, BYTES) \
	FIX(unit, IPC_UNIT) U32(part) U32(epoch) U32(attempt) U64(age) U8(warned) U8(last) \
	U64(left) U64(batch_id) U8(size_class) U8(is_void) U32(crowd) U32(batch) U8(strange) BYTES(body)
/* A blob of work at hand, as BLOB_GET. */
#define MSG_COURIER_BLOB_FIELDS(U8, U16, U32, U64, FIX, BYTES) FIX(unit, IPC_UNIT) U32(part) FIX(blob, IPC_BLOB) U32(first) U32(count)
#define MSG_COURIER_BLOB_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(chunks)
/*
 * again 0: the part is finished; 1: recipients stay open: body replaces the part's (empty: as it was), it is retried.
 * notices: parts as in MIX_PUT (arrivals to the sender: bounce, delay warning, success report), put in the same transaction.
 * journal: list of bytes, each a line sealed to the author (sealed/journal.h), that enters her log at once. delivery: enum
 * ipc_delivery, of what the peer took in this attempt.
 */
#define MSG_COURIER_VERDICT_FIELDS(U8, U16, U32, U64, FIX, BYTES) \
	FIX(unit, IPC_UNIT) U32(part) U8(again) U8(warned) U8(delivery) BYTES(body) BYTES(notices) BYTES(journal)
#define MSG_COURIER_VERDICT_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES)

/*
 * name: presentation form without the final dot, ASCII. type: RR type number. strangers: 1 if a stranger chose the name, and with it the servers
 * that answer: such questions have a room of their own in the resolver. ERR_TIMEOUT, ERR_AGAIN: server failure; ERR_FULL: no room, nothing was asked.
 */
#define MSG_RESOLVE_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(name) U16(type) U8(strangers)
/* rcode: 0 or 3 (no such name); secure: validated; bogus answers come as ERR_AUTH. answers: list of bytes (rdata, wire form) */
#define MSG_RESOLVE_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) U8(rcode) U8(secure) U32(ttl) BYTES(canonical) BYTES(answers)

/*
 * One HTTP request, no redirects followed, nothing kept. url: absolute, https (http: with FETCH_HTTP), without user. headers: list of
 * {bytes name, bytes value}. options: enum fetch_option. body_max: octets of the answer's body. timeout: ms, for all of it.
 * Answered whatever the server's status is. ERR_NOT_FOUND: the host has no address; ERR_CLOSED: no connection; ERR_AUTH: its certificate is
 * not good for its name (or its name's DNS answer does not verify); ERR_LIMIT: the body is larger; ERR_TIMEOUT; ERR_FORMAT: not HTTP, or no
 * such request can be made; ERR_DENIED: an address or a port that is not allowed; ERR_AGAIN: not now; ERR_MEMORY.
 */
#define MSG_FETCH_FIELDS(U8, U16, U32, U64, FIX, BYTES) \
	BYTES(method) BYTES(url) BYTES(headers) BYTES(body) U8(options) U32(body_max) U32(timeout)
/* headers: lines "Name: value" with CRLF, as they came, at most FETCH_HEADERS_MAX octets */
#define MSG_FETCH_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) U16(status) BYTES(headers) BYTES(body)
/* What a role wants to find again after a restart, sealed by it: one value of each of its processes. place: whose; one puts its own. ERR_NOT_FOUND. */
#define MSG_KEPT_GET_FIELDS(U8, U16, U32, U64, FIX, BYTES) U8(place)
#define MSG_KEPT_GET_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(value)
#define MSG_KEPT_PUT_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(value)
#define MSG_KEPT_PUT_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES)
/*
 * What a gate judged on a day that has ended, for reports of our own (reports/tally.h): list of {u32 day, u8 outcome, 16-byte network, bytes domain,
 * u64 set of members, u32 count}.
 */
#define MSG_REPORT_ROWS_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(rows)

/* address: 16-byte IPv6 or mapped IPv4, for throttling in memory only. ERR_AUTH, ERR_AGAIN, ERR_DAMAGED (an entry of hers does not verify). */
#define MSG_LOGIN_FIELDS(U8, U16, U32, U64, FIX, BYTES) U8(protocol) FIX(address, 16) BYTES(name) BYTES(password)
#define MSG_LOGIN_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) U16(worker) FIX(token, IPC_TOKEN)
/*
 * SCRAM-SHA-256 (RFC 5802). client_nonce: as the client chose it. The answer is the same for who is a member and who is not, and asks
 * nobody: salt and rounds of the name, and printable octets to append to the nonce.
 */
#define MSG_SCRAM_FIRST_FIELDS(U8, U16, U32, U64, FIX, BYTES) BYTES(name) BYTES(client_nonce)
#define MSG_SCRAM_FIRST_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) FIX(salt, 16) U32(rounds) FIX(nonce, IPC_SCRAM_NONCE)
/*
 * head and tail: the AuthMessage in two parts, the second of which is the client-final-message-without-proof. The gate has
 * compared the channel binding. Refused as LOGIN; also where nonce (that of SCRAM_FIRST) is old, was made for another name, or has logged in
 * before. signature: ServerSignature.
 */
#define MSG_SCRAM_FINAL_FIELDS(U8, U16, U32, U64, FIX, BYTES) \
	U8(protocol) FIX(address, 16) BYTES(name) BYTES(client_nonce) FIX(nonce, IPC_SCRAM_NONCE) BYTES(head) BYTES(tail) FIX(proof, 32)
#define MSG_SCRAM_FINAL_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES) U16(worker) FIX(token, IPC_TOKEN) FIX(signature, 32)
/* keys: list of {u32 generation, 32-byte public, 32-byte secret}, ascending; profile: the sealed account entry's plaintext
 * (sealed/directory.h). commit 0: the token admits one connection, for a short time; answered at once. commit 1: no connection
 * follows; answered when her log commits to this slot list. ERR_CONFLICT: her log, or this worker, knows a newer one. */
#define MSG_MEMBER_OPEN_FIELDS(U8, U16, U32, U64, FIX, BYTES) \
	FIX(token, IPC_TOKEN) FIX(account, IPC_ACCOUNT) U16(slot) FIX(slots_hash, 32) U32(slots_revision) U8(commit) \
	BYTES(keys) BYTES(profile)
#define MSG_MEMBER_OPEN_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES)
#define MSG_MEMBER_CLOSE_FIELDS(U8, U16, U32, U64, FIX, BYTES) FIX(account, IPC_ACCOUNT)
#define MSG_MEMBER_CLOSE_REPLY_FIELDS(U8, U16, U32, U64, FIX, BYTES)
/* She sends what is not hers, or too much: her entry says so until it is lifted. Of a member whose worker says it. reference: of the log's line */
#define MSG_MEMBER_HOLD_FIELDS(U8, U16, U32, U64, FIX, BYTES) FIX(account, IPC_ACCOUNT) BYTES(reference)
/* conn: chosen by the gate, unique on this channel while open. extended: EHLO was said. */
#define MSG_CONN_OPEN_FIELDS(U8, U16, U32, U64, FIX, BYTES) U32(conn) FIX(token, IPC_TOKEN) U8(protocol) U8(extended)
/* The sender may have at most CONN_WINDOW bytes on the way that CONN_CREDIT has not given back. */
#define MSG_CONN_DATA_FIELDS(U8, U16, U32, U64, FIX, BYTES) U32(conn) BYTES(data)
/*
 * Here a response ends: until then the gate may keep its last bytes back. pad: enum conn_pad. What was sent since the last
 * CONN_FLUSH leaves in TLS 1.3 records whose size and number show its step of the ladder alone (loop/pad.h).
 */
#define MSG_CONN_FLUSH_FIELDS(U8, U16, U32, U64, FIX, BYTES) U32(conn) U8(pad)
#define MSG_CONN_CREDIT_FIELDS(U8, U16, U32, U64, FIX, BYTES) U32(conn) U32(count)
#define MSG_CONN_CLOSE_FIELDS(U8, U16, U32, U64, FIX, BYTES) U32(conn)
/* clang-format on */

enum { CONN_WINDOW = 256 * 1024, BLOB_GET_MANY_MAX = 64 };

/* Certificates by ACME: for port 25, and for members' ports and the web. */
enum acme_kind { ACME_MX = 0, ACME_MEMBER = 1, ACME_KINDS = 2 };
enum acme_file {
	ACME_FILE_ACCOUNT = 1,
	ACME_FILE_MX = 2, /* the chain */
	ACME_FILE_MEMBER = 3,
	ACME_FILE_MX_KEY = 4,
	ACME_FILE_MEMBER_KEY = 5,
	ACME_FILE_MX_NEXT = 6,
	ACME_FILE_MEMBER_NEXT = 7,
	ACME_FILES = 8
};
/* Nothing else is ever signed with the account's key. */
enum acme_request {
	ACME_NEW_ACCOUNT = 1, /* the terms agreed, the contact of the configuration */
	ACME_NEW_ORDER = 2,   /* for the names of this certificate */
	ACME_GET = 3,         /* RFC 8555 section 6.3 */
	ACME_TRY = 4,         /* a challenge is ready */
	ACME_FINALIZE = 5,    /* with a request (PKCS #10) for the key in use, or the next */
};
enum acme_challenge { ACME_HTTP_01 = 1, ACME_TLS_ALPN_01 = 2 };
enum { ACME_CHAIN_MAX = IPC_SMALL * 4, ACME_URL_MAX = 1024, ACME_NAMES_MAX = 8 };

enum fetch_option {
	FETCH_HTTP = 1,     /* http, too; port 80 as well */
	FETCH_LOOPBACK = 2, /* a server on this machine, any port; numeric hosts */
};
enum {
	FETCH_HEADERS_MAX = 16 * 1024,
	FETCH_BODY_MAX = IPC_PAYLOAD_MAX,
	FETCH_REQUEST_MAX = IPC_UNIT_MAX - 64 * 1024
};

enum conn_pad {
	CONN_PAD_LADDER = 1,
	CONN_PAD_BEAT =
	    2, /* one record of 512 bytes: 1 to CONN_BEAT_MAX bytes were sent; else the gate ends the connection */
};
enum { CONN_BEAT_MAX = 511 };

/* Operations of SPOOL_BATCH, each after its u8. */
enum spool_op {
	SPOOL_OP_STATE = 1,    /* 16 unit, bytes state */
	SPOOL_OP_PART_PUT = 2, /* 16 unit, u32 part, bytes body */
	SPOOL_OP_RELEASE =
	    3, /* 16 unit, u32 part, 16 account, 16 blob; nothing if the part is gone. Part and blob go if the account is gone. */
	SPOOL_OP_MOVE = 4,        /* 16 unit, u32 part, 16 to_unit, bytes to_state */
	SPOOL_OP_PART_DELETE = 5, /* 16 unit, u32 part */
	SPOOL_OP_DELETE = 6,      /* 16 unit */
	SPOOL_OP_BLOB_DELETE = 7, /* 16 blob */
	SPOOL_OP_PUT = 8,  /* as SPOOL_PUT: 16 unit, bytes state, bytes parts, bytes claims, bytes charges */
	SPOOL_OP_META = 9, /* as META_PUT: bytes name, bytes value */
};

enum msg_type {
	MSG_NONE = 0,
#define M(NAME, name, from, to, max, kind, fd) MSG_##NAME,
	IPC_MESSAGES(M)
#undef M
	    MSG__COUNT
};

struct msg_rule {
	const char *name;
	unsigned from; /* ROLE_BITs */
	unsigned to;
	size_t max; /* payload bytes, request and reply alike */
	enum ipc_kind kind;
	bool descriptor;
};

/* NULL for a type that is not in the table. */
const struct msg_rule *msg_rule(unsigned type);

/* The structs. */
#define F_U8(n) uint8_t n;
#define F_U16(n) uint16_t n;
#define F_U32(n) uint32_t n;
#define F_U64(n) uint64_t n;
#define F_FIX(n, size) uint8_t n[size];
#define F_BYTES(n) struct bytes n;
#define MSG_STRUCT(name, FIELDS)                                                                             \
	struct msg_##name {                                                                                  \
		FIELDS(F_U8, F_U16, F_U32, F_U64, F_FIX, F_BYTES) uint8_t unused_;                           \
	};                                                                                                   \
	/* Appends to out. ERR_LIMIT, ERR_MEMORY. */                                                         \
	COHUE_MUST_USE enum err msg_##name##_encode(struct buf *out, const struct msg_##name *m);            \
	/* ERR_FORMAT: a field is missing, or something is left over. */                                     \
	COHUE_MUST_USE enum err msg_##name##_decode(struct bytes payload, struct msg_##name *ret);

/* Every payload that exists: requests, notices, and replies. */
#define IPC_PAYLOADS(P)                                                                                      \
	P(setup, MSG_SETUP_FIELDS)                                                                           \
	P(channel, MSG_CHANNEL_FIELDS)                                                                       \
	P(listen, MSG_LISTEN_FIELDS)                                                                         \
	P(house_key, MSG_HOUSE_KEY_FIELDS)                                                                   \
	P(tls_files, MSG_TLS_FILES_FIELDS)                                                                   \
	P(tls_files_reply, MSG_TLS_FILES_REPLY_FIELDS)                                                       \
	P(dkim_file, MSG_DKIM_FILE_FIELDS)                                                                   \
	P(dkim_change, MSG_DKIM_CHANGE_FIELDS)                                                               \
	P(dkim_change_reply, MSG_DKIM_CHANGE_REPLY_FIELDS)                                                   \
	P(dkim_selectors_reply, MSG_DKIM_SELECTORS_REPLY_FIELDS)                                             \
	P(dkim_sign, MSG_DKIM_SIGN_FIELDS)                                                                   \
	P(dkim_sign_reply, MSG_DKIM_SIGN_REPLY_FIELDS)                                                       \
	P(acme_account, MSG_ACME_ACCOUNT_FIELDS)                                                             \
	P(acme_save, MSG_ACME_SAVE_FIELDS)                                                                   \
	P(acme_saved, MSG_ACME_SAVED_FIELDS)                                                                 \
	P(acme_renew_reply, MSG_ACME_RENEW_REPLY_FIELDS)                                                     \
	P(acme_state_reply, MSG_ACME_STATE_REPLY_FIELDS)                                                     \
	P(acme_sign, MSG_ACME_SIGN_FIELDS)                                                                   \
	P(acme_sign_reply, MSG_ACME_SIGN_REPLY_FIELDS)                                                       \
	P(acme_chain, MSG_ACME_CHAIN_FIELDS)                                                                 \
	P(acme_challenge, MSG_ACME_CHALLENGE_FIELDS)                                                         \
	P(acme_vouch_reply, MSG_ACME_VOUCH_REPLY_FIELDS)                                                     \
	P(peer_fault, MSG_PEER_FAULT_FIELDS)                                                                 \
	P(peer_lost, MSG_PEER_LOST_FIELDS)                                                                   \
	P(status_reply, MSG_STATUS_REPLY_FIELDS)                                                             \
	P(control, MSG_CONTROL_FIELDS)                                                                       \
	P(control_reply, MSG_CONTROL_REPLY_FIELDS)                                                           \
	P(purpose_keys_reply, MSG_PURPOSE_KEYS_REPLY_FIELDS)                                                 \
	P(tls_chain_reply, MSG_TLS_CHAIN_REPLY_FIELDS)                                                       \
	P(tls_sign, MSG_TLS_SIGN_FIELDS)                                                                     \
	P(tls_sign_reply, MSG_TLS_SIGN_REPLY_FIELDS)                                                         \
	P(sign_public, MSG_SIGN_PUBLIC_FIELDS)                                                               \
	P(sign_public_reply, MSG_SIGN_PUBLIC_REPLY_FIELDS)                                                   \
	P(sign_forwards, MSG_SIGN_FORWARDS_FIELDS)                                                           \
	P(sign_forwards_reply, MSG_SIGN_FORWARDS_REPLY_FIELDS)                                               \
	P(spool_key_new, MSG_SPOOL_KEY_NEW_FIELDS)                                                           \
	P(spool_key_new_reply, MSG_SPOOL_KEY_NEW_REPLY_FIELDS)                                               \
	P(spool_key_load, MSG_SPOOL_KEY_LOAD_FIELDS)                                                         \
	P(spool_key_drop, MSG_SPOOL_KEY_DROP_FIELDS)                                                         \
	P(spool_key_current_reply, MSG_SPOOL_KEY_CURRENT_REPLY_FIELDS)                                       \
	P(spool_key_secret, MSG_SPOOL_KEY_SECRET_FIELDS)                                                     \
	P(spool_key_secret_reply, MSG_SPOOL_KEY_SECRET_REPLY_FIELDS)                                         \
	P(directory_get, MSG_DIRECTORY_GET_FIELDS)                                                           \
	P(directory_get_reply, MSG_DIRECTORY_GET_REPLY_FIELDS)                                               \
	P(directory_write, MSG_DIRECTORY_WRITE_FIELDS)                                                       \
	P(directory_walk, MSG_DIRECTORY_WALK_FIELDS)                                                         \
	P(directory_walk_reply, MSG_DIRECTORY_WALK_REPLY_FIELDS)                                             \
	P(account_delete, MSG_ACCOUNT_DELETE_FIELDS)                                                         \
	P(blob_names, MSG_BLOB_NAMES_FIELDS)                                                                 \
	P(blob_names_reply, MSG_BLOB_NAMES_REPLY_FIELDS)                                                     \
	P(blobs_delete, MSG_BLOBS_DELETE_FIELDS)                                                             \
	P(log_head, MSG_LOG_HEAD_FIELDS)                                                                     \
	P(log_head_reply, MSG_LOG_HEAD_REPLY_FIELDS)                                                         \
	P(log_read, MSG_LOG_READ_FIELDS)                                                                     \
	P(log_read_reply, MSG_LOG_READ_REPLY_FIELDS)                                                         \
	P(log_read_many, MSG_LOG_READ_MANY_FIELDS)                                                           \
	P(log_read_many_reply, MSG_LOG_READ_MANY_REPLY_FIELDS)                                               \
	P(log_append, MSG_LOG_APPEND_FIELDS)                                                                 \
	P(log_append_reply, MSG_LOG_APPEND_REPLY_FIELDS)                                                     \
	P(log_delete, MSG_LOG_DELETE_FIELDS)                                                                 \
	P(log_changed, MSG_LOG_CHANGED_FIELDS)                                                               \
	P(snapshot_put, MSG_SNAPSHOT_PUT_FIELDS)                                                             \
	P(snapshot_get, MSG_SNAPSHOT_GET_FIELDS)                                                             \
	P(snapshot_get_reply, MSG_SNAPSHOT_GET_REPLY_FIELDS)                                                 \
	P(blob_put, MSG_BLOB_PUT_FIELDS)                                                                     \
	P(blob_get, MSG_BLOB_GET_FIELDS)                                                                     \
	P(blob_get_reply, MSG_BLOB_GET_REPLY_FIELDS)                                                         \
	P(blob_get_many, MSG_BLOB_GET_MANY_FIELDS)                                                           \
	P(blob_get_many_reply, MSG_BLOB_GET_MANY_REPLY_FIELDS)                                               \
	P(spool_put, MSG_SPOOL_PUT_FIELDS)                                                                   \
	P(spool_batch, MSG_SPOOL_BATCH_FIELDS)                                                               \
	P(spool_batch_reply, MSG_SPOOL_BATCH_REPLY_FIELDS)                                                   \
	P(spool_part_get, MSG_SPOOL_PART_GET_FIELDS)                                                         \
	P(spool_part_get_reply, MSG_SPOOL_PART_GET_REPLY_FIELDS)                                             \
	P(spool_walk, MSG_SPOOL_WALK_FIELDS)                                                                 \
	P(spool_walk_reply, MSG_SPOOL_WALK_REPLY_FIELDS)                                                     \
	P(spool_keys, MSG_SPOOL_KEYS_FIELDS)                                                                 \
	P(spool_keys_reply, MSG_SPOOL_KEYS_REPLY_FIELDS)                                                     \
	P(meta_get, MSG_META_GET_FIELDS)                                                                     \
	P(meta_get_reply, MSG_META_GET_REPLY_FIELDS)                                                         \
	P(meta_put, MSG_META_PUT_FIELDS)                                                                     \
	P(mix_blob, MSG_MIX_BLOB_FIELDS)                                                                     \
	P(mix_put, MSG_MIX_PUT_FIELDS)                                                                       \
	P(house, MSG_HOUSE_FIELDS)                                                                           \
	P(courier_work, MSG_COURIER_WORK_FIELDS)                                                             \
	P(courier_blob, MSG_COURIER_BLOB_FIELDS)                                                             \
	P(courier_blob_reply, MSG_COURIER_BLOB_REPLY_FIELDS)                                                 \
	P(courier_verdict, MSG_COURIER_VERDICT_FIELDS)                                                       \
	P(resolve, MSG_RESOLVE_FIELDS)                                                                       \
	P(resolve_reply, MSG_RESOLVE_REPLY_FIELDS)                                                           \
	P(fetch, MSG_FETCH_FIELDS)                                                                           \
	P(fetch_reply, MSG_FETCH_REPLY_FIELDS)                                                               \
	P(kept_get, MSG_KEPT_GET_FIELDS)                                                                     \
	P(kept_get_reply, MSG_KEPT_GET_REPLY_FIELDS)                                                         \
	P(kept_put, MSG_KEPT_PUT_FIELDS)                                                                     \
	P(report_rows, MSG_REPORT_ROWS_FIELDS)                                                               \
	P(login, MSG_LOGIN_FIELDS)                                                                           \
	P(login_reply, MSG_LOGIN_REPLY_FIELDS)                                                               \
	P(scram_first, MSG_SCRAM_FIRST_FIELDS)                                                               \
	P(scram_first_reply, MSG_SCRAM_FIRST_REPLY_FIELDS)                                                   \
	P(scram_final, MSG_SCRAM_FINAL_FIELDS)                                                               \
	P(scram_final_reply, MSG_SCRAM_FINAL_REPLY_FIELDS)                                                   \
	P(member_open, MSG_MEMBER_OPEN_FIELDS)                                                               \
	P(member_close, MSG_MEMBER_CLOSE_FIELDS)                                                             \
	P(member_hold, MSG_MEMBER_HOLD_FIELDS)                                                               \
	P(conn_open, MSG_CONN_OPEN_FIELDS)                                                                   \
	P(conn_data, MSG_CONN_DATA_FIELDS)                                                                   \
	P(conn_flush, MSG_CONN_FLUSH_FIELDS)                                                                 \
	P(conn_credit, MSG_CONN_CREDIT_FIELDS)                                                               \
	P(conn_close, MSG_CONN_CLOSE_FIELDS)

IPC_PAYLOADS(MSG_STRUCT)

/* Reads payloads without fields (GO, READY, STOP, empty requests and replies): ERR_FORMAT unless empty. */
COHUE_MUST_USE enum err msg_empty_decode(struct bytes payload);

#endif
