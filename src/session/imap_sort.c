/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* SORT: what SEARCH finds, in an order that comes from the fold and from cards (RFC 5256, RFC 5267, RFC 5957). */
#include "protocol/imap_sort.h"

#include "session/imap_search.h"

struct sorting {
	struct imap *im;
	const struct imap_sort_criterion *order;
	size_t order_count;
	const struct imap_found *found;
	struct imap_sort_value *values;
	uint32_t *sorted;
};

static bool
needs_cards(const struct sorting *s)
{
	for (size_t i = 0; i < s->order_count; i++) {
		if (s->order[i].by != IMAP_SORT_ARRIVAL && s->order[i].by != IMAP_SORT_SIZE) {
			return true;
		}
	}
	return false;
}

static enum err
value_message(void *arg, struct arena *arena, size_t i, const struct mail_envelope *envelope)
{
	struct sorting *s = arg;
	(void)arena;
	const struct fold_mailbox *box = imap_selected(s->im);
	const struct fold_message *m = box == NULL ? NULL : fold_message_by_uid(box, s->found->items[i].uid);
	struct imap_sort_source source = {
	    .envelope = envelope, .internal = m == NULL ? 0 : m->date, .size = m == NULL ? 0 : m->size};
	enum err e = ERR_OK;
	for (size_t k = 0; k < s->order_count && e == ERR_OK; k++) {
		e = imap_sort_value_of(s->im->arena, s->order[k].by, &source,
				       &s->values[i * s->order_count + k]);
	}
	return e;
}

static enum err
sort(struct sorting *s, struct imap_found *ret)
{
	size_t count = s->found->count;
	struct message_item *items = arena_array(s->im->arena, count + 1, sizeof(*items));
	s->values = arena_array(s->im->arena, count * s->order_count + 1, sizeof(*s->values));
	s->sorted = arena_array(s->im->arena, count + 1, sizeof(*s->sorted));
	if (items == NULL || s->values == NULL || s->sorted == NULL) {
		return ERR_LIMIT;
	}
	enum err e = ERR_OK;
	if (needs_cards(s)) {
		e = imap_each_envelope(s->im, s->found, value_message, s);
	} else {
		for (size_t i = 0; i < count && e == ERR_OK; i++) {
			e = value_message(s, NULL, i, NULL);
		}
	}
	if (e == ERR_OK) {
		imap_sort(s->order, s->order_count, s->values, s->sorted, count);
		for (size_t i = 0; i < count; i++) {
			items[i] = s->found->items[s->sorted[i]];
		}
		*ret = (struct imap_found){.items = items, .count = count, .damaged = s->found->damaged};
	}
	return e == ERR_MEMORY ? ERR_LIMIT : e;
}

void
imap_do_sort(struct imap *im)
{
	struct imap_found found;
	struct imap_found sorted;
	struct sorting s = {.im = im,
			    .order = im->command->search.order,
			    .order_count = im->command->search.order_count,
			    .found = &found};
	if (!imap_search_run(im, NULL, &found)) {
		return;
	}
	enum err e = sort(&s, &sorted);
	if (e == ERR_OK) {
		imap_search_answer(im, NULL, &sorted, "SORT");
		return;
	}
	imap_search_failed(im);
	if (!conn_is_closed(im->conn)) {
		imap_fail(im, e);
	}
}
