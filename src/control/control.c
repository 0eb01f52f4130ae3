/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "control/control.h"

#include "base/wire.h"

enum err
control_answer_encode(struct buf *out, enum err status, struct bytes text, struct bytes data)
{
	struct wire_writer w;
	wire_writer_init(&w, out);
	wire_put_u8(&w, (uint8_t)status);
	wire_put_bytes(&w, text);
	wire_put_bytes(&w, data);
	return wire_done(&w);
}

enum err
control_answer_decode(struct bytes packet, struct control_answer *ret)
{
	struct wire_reader r;
	struct control_answer a;
	wire_reader_init(&r, packet);
	uint8_t status = wire_get_u8(&r);
	a.text = wire_get_bytes(&r, CONTROL_ANSWER_MAX);
	a.data = wire_get_bytes(&r, CONTROL_ANSWER_MAX);
	enum err e = wire_end(&r);
	if (e != ERR_OK || status >= ERR__COUNT) {
		return ERR_FORMAT;
	}
	a.status = (enum err)status;
	*ret = a;
	return ERR_OK;
}
