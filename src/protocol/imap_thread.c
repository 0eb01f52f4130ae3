/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_thread.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/imap_thread_forest.h"

#define NONE IMAP_THREAD_NONE

struct threading {
	struct arena *arena;
	const struct imap_thread_message *messages;
	uint32_t count;     /* of messages: their nodes come first */
	uint32_t used;      /* nodes */
	uint32_t room;      /* for nodes */
	struct forest tree; /* real messages and those that are only referred to */
	uint32_t *table;    /* identifiers: open addressing */
	size_t table_size;
	const struct imap_thread_key **keys; /* of each node */
	uint32_t *parent;                    /* once links stand: without dummies below the root */
	uint32_t *first;
	uint32_t *last;
	uint32_t *next;
	uint32_t *by_date; /* messages */
	uint32_t *roots;
	size_t root_count;
};

static bool
is_dummy(const struct threading *t, uint32_t node)
{
	return node >= t->count;
}

/* --- (1) links --- */

/* The node of an identifier; add: NONE gives room for a new one at *ret_place. */
static uint32_t
find(const struct threading *t, const struct imap_thread_key *key, size_t *ret_place)
{
	uint64_t hash;
	memcpy(&hash, key->octets, sizeof(hash));
	size_t i = (size_t)hash & (t->table_size - 1);
	while (t->table[i] != NONE &&
	       memcmp(t->keys[t->table[i]]->octets, key->octets, IMAP_THREAD_KEY_LEN) != 0) {
		i = (i + 1) & (t->table_size - 1);
	}
	*ret_place = i;
	return t->table[i];
}

static uint32_t
find_or_make(struct threading *t, const struct imap_thread_key *key)
{
	size_t place;
	uint32_t node = find(t, key, &place);
	if (node == NONE) {
		node = t->used++;
		t->keys[node] = key;
		t->table[place] = node;
	}
	return node;
}

/* Only the first message of an identifier has it. */
static void
take_ids(struct threading *t)
{
	for (uint32_t i = 0; i < t->count; i++) {
		size_t place;
		t->keys[i] = &t->messages[i].id;
		if (t->messages[i].has_id && find(t, &t->messages[i].id, &place) == NONE) {
			t->table[place] = i;
		}
	}
}

static void
link_message(struct threading *t, uint32_t message)
{
	const struct imap_thread_message *m = &t->messages[message];
	uint32_t before = NONE;
	for (size_t i = 0; i < m->reference_count; i++) {
		uint32_t node = find_or_make(t, &m->references[i]);
		/* (A): a link that stands stays, and no loop. */
		if (before != NONE && forest_parent(&t->tree, node) == NONE &&
		    forest_root(&t->tree, before) != node) {
			forest_link(&t->tree, node, before);
		}
		before = node;
	}
	/* (B): the last reference is the parent, whatever others said before. */
	if (forest_parent(&t->tree, message) != NONE) {
		forest_cut(&t->tree, message);
	}
	if (before != NONE && forest_root(&t->tree, before) != message) {
		forest_link(&t->tree, message, before);
	}
}

/* --- (2) and (3) roots, without those that are only referred to --- */

/* Of a node that is no message: the nearest ancestor that is one, or the topmost that is none. Paths are walked once. */
static uint32_t
resolve(struct threading *t, uint32_t dummy, uint32_t *resolved)
{
	uint32_t at = dummy;
	while (resolved[at] == NONE) {
		uint32_t up = forest_parent(&t->tree, at);
		if (up == NONE || !is_dummy(t, up)) {
			resolved[at] = up == NONE ? at : up;
			break;
		}
		at = up;
	}
	uint32_t found = resolved[at];
	for (at = dummy; resolved[at] == NONE; at = forest_parent(&t->tree, at)) {
		resolved[at] = found;
	}
	return found;
}

static void
prune(struct threading *t, uint32_t *resolved, uint32_t *children)
{
	for (uint32_t i = 0; i < t->used; i++) {
		resolved[i] = NONE;
		children[i] = 0;
		t->parent[i] = NONE;
	}
	for (uint32_t i = 0; i < t->count; i++) {
		uint32_t up = forest_parent(&t->tree, i);
		t->parent[i] = up != NONE && is_dummy(t, up) ? resolve(t, up, resolved) : up;
		if (t->parent[i] != NONE) {
			children[t->parent[i]]++;
		}
	}
	for (uint32_t i = 0; i < t->count; i++) {
		uint32_t up = t->parent[i];
		if (up != NONE && is_dummy(t, up) && children[up] == 1) {
			t->parent[i] = NONE; /* an only child takes its place at the root */
			children[up] = 0;
		}
	}
	for (uint32_t i = 0; i < t->used; i++) {
		if (is_dummy(t, i) ? children[i] > 0 : t->parent[i] == NONE) {
			t->roots[t->root_count++] = i;
		}
	}
}

/* --- (4) and (6) order --- */

static int
by_sent(const struct imap_thread_message *messages, uint32_t l, uint32_t r)
{
	if (messages[l].sent != messages[r].sent) {
		return messages[l].sent < messages[r].sent ? -1 : 1;
	}
	return l < r ? -1 : l > r;
}

static int
compare_messages(const void *left, const void *right, void *arg)
{
	return by_sent(arg, *(const uint32_t *)left, *(const uint32_t *)right);
}

/* The message that stands for a root: itself, or its first child. */
static uint32_t
stands_for(const struct threading *t, uint32_t root)
{
	return is_dummy(t, root) ? t->first[root] : root;
}

static int
compare_roots(const void *left, const void *right, void *arg)
{
	const struct threading *t = arg;
	return by_sent(t->messages, stands_for(t, *(const uint32_t *)left),
		       stands_for(t, *(const uint32_t *)right));
}

/* Children of all nodes from t->parent, by date. */
static void
hang_children(struct threading *t)
{
	for (uint32_t i = 0; i < t->used; i++) {
		t->first[i] = t->last[i] = t->next[i] = NONE;
	}
	for (uint32_t i = 0; i < t->count; i++) {
		uint32_t child = t->by_date[i];
		uint32_t up = t->parent[child];
		if (up == NONE) {
			continue;
		}
		if (t->first[up] == NONE) {
			t->first[up] = child;
		} else {
			t->next[t->last[up]] = child;
		}
		t->last[up] = child;
	}
}

/* --- (5) subjects --- */

static struct bytes
subject_of(const struct threading *t, uint32_t root)
{
	return t->messages[stands_for(t, root)].subject;
}

static int
compare_subjects(const void *left, const void *right, void *arg)
{
	const struct threading *t = arg;
	uint32_t l = *(const uint32_t *)left;
	uint32_t r = *(const uint32_t *)right;
	int order = bytes_compare(subject_of(t, l), subject_of(t, r));
	return order != 0 ? order : compare_roots(left, right, arg);
}

static bool
is_reply(const struct threading *t, uint32_t root)
{
	return !is_dummy(t, root) && t->messages[root].reply;
}

/* Roots of one subject, by date: the one that the others go to (B), then (C). What is merged gets a parent; new roots are kept. */
static void
merge_subject(struct threading *t, const uint32_t *roots, size_t count, bool *deleted)
{
	uint32_t head = roots[0];
	for (size_t i = 1; i < count; i++) {
		if (!is_dummy(t, head) &&
		    (is_dummy(t, roots[i]) || (is_reply(t, head) && !is_reply(t, roots[i])))) {
			head = roots[i];
		}
	}
	uint32_t table = head;
	for (size_t i = 0; i < count; i++) {
		uint32_t root = roots[i];
		if (root == head) {
			continue;
		}
		if (is_dummy(t, table) && is_dummy(t, root)) {
			for (uint32_t child = t->first[root]; child != NONE; child = t->next[child]) {
				t->parent[child] = table;
			}
			deleted[root] = true;
		} else if (is_dummy(t, table) || (is_reply(t, root) && !is_reply(t, table))) {
			t->parent[root] = table;
		} else {
			uint32_t made = t->used++;
			t->parent[made] = NONE;
			t->parent[root] = t->parent[table] = made;
			t->roots[t->root_count++] = made;
			table = made;
		}
	}
}

static enum err
merge_subjects(struct threading *t)
{
	size_t count = t->root_count;
	uint32_t *sorted = arena_array(t->arena, count + 1, sizeof(*sorted));
	bool *deleted = arena_array(t->arena, t->room, sizeof(*deleted));
	if (sorted == NULL || deleted == NULL) {
		return ERR_MEMORY;
	}
	if (count > 0) {
		memcpy(sorted, t->roots, count * sizeof(*sorted));
		qsort_r(sorted, count, sizeof(*sorted), compare_subjects, t);
	}
	for (size_t i = 0; i < count;) {
		size_t same = 1;
		struct bytes subject = subject_of(t, sorted[i]);
		while (i + same < count && bytes_equal(subject_of(t, sorted[i + same]), subject)) {
			same++;
		}
		if (subject.len > 0 && same > 1) {
			merge_subject(t, sorted + i, same, deleted);
		}
		i += same;
	}
	size_t kept = 0;
	for (size_t i = 0; i < t->root_count; i++) {
		uint32_t root = t->roots[i];
		if (!deleted[root] && t->parent[root] == NONE) {
			t->roots[kept++] = root;
		}
	}
	t->root_count = kept;
	return ERR_OK;
}

/* --- all of it --- */

static enum err
give(struct threading *t, struct imap_threads *ret)
{
	struct imap_thread_node *nodes = arena_array(t->arena, (size_t)t->used + 1, sizeof(*nodes));
	if (nodes == NULL) {
		return ERR_MEMORY;
	}
	for (uint32_t i = 0; i < t->used; i++) {
		nodes[i] = (struct imap_thread_node){.number = is_dummy(t, i) ? 0 : t->messages[i].number,
						     .first = t->first[i],
						     .next = t->next[i]};
	}
	*ret = (struct imap_threads){.nodes = nodes, .roots = t->roots, .root_count = t->root_count};
	return ERR_OK;
}

static enum err
begin(struct threading *t, struct arena *a, const struct imap_thread_message *messages, size_t count,
      size_t others)
{
	*t = (struct threading){.arena = a, .messages = messages};
	if (count + others >= NONE / 4) {
		return ERR_LIMIT;
	}
	t->count = t->used = (uint32_t)count;
	t->room = (uint32_t)(count * 2 + others) + 1;
	t->parent = arena_array(a, t->room, sizeof(*t->parent));
	t->first = arena_array(a, t->room, sizeof(*t->first));
	t->last = arena_array(a, t->room, sizeof(*t->last));
	t->next = arena_array(a, t->room, sizeof(*t->next));
	t->by_date = arena_array(a, count + 1, sizeof(*t->by_date));
	t->roots = arena_array(a, t->room, sizeof(*t->roots));
	if (t->parent == NULL || t->first == NULL || t->last == NULL || t->next == NULL ||
	    t->by_date == NULL || t->roots == NULL) {
		return ERR_MEMORY;
	}
	for (uint32_t i = 0; i < t->count; i++) {
		t->by_date[i] = i;
	}
	union {
		const struct imap_thread_message *in;
		void *arg;
	} order = {.in = messages};
	qsort_r(t->by_date, count, sizeof(*t->by_date), compare_messages, order.arg);
	return ERR_OK;
}

enum err
imap_thread_references(struct arena *a, const struct imap_thread_message *messages, size_t count,
		       struct imap_threads *ret)
{
	struct threading t;
	size_t references = 0;
	for (size_t i = 0; i < count; i++) {
		references += messages[i].reference_count;
	}
	enum err e = begin(&t, a, messages, count, references);
	if (e != ERR_OK) {
		return e;
	}
	t.table_size = 16;
	while (t.table_size < (count + references) * 2) {
		t.table_size *= 2;
	}
	t.table = arena_array(a, t.table_size, sizeof(*t.table));
	t.keys = arena_array(a, t.room, sizeof(*t.keys));
	uint32_t *resolved = arena_array(a, t.room, sizeof(*resolved));
	uint32_t *children = arena_array(a, t.room, sizeof(*children));
	if (t.table == NULL || t.keys == NULL || resolved == NULL || children == NULL) {
		return ERR_MEMORY;
	}
	e = forest_init(&t.tree, a, count + references);
	if (e != ERR_OK) {
		return e;
	}
	for (size_t i = 0; i < t.table_size; i++) {
		t.table[i] = NONE;
	}
	take_ids(&t);
	for (uint32_t i = 0; i < t.count; i++) {
		link_message(&t, i);
	}
	prune(&t, resolved, children);
	hang_children(&t);
	e = merge_subjects(&t);
	if (e != ERR_OK) {
		return e;
	}
	hang_children(&t);
	qsort_r(t.roots, t.root_count, sizeof(*t.roots), compare_roots, &t);
	return give(&t, ret);
}

enum err
imap_thread_subjects(struct arena *a, const struct imap_thread_message *messages, size_t count,
		     struct imap_threads *ret)
{
	struct threading t;
	enum err e = begin(&t, a, messages, count, 0);
	uint32_t *sorted = e == ERR_OK ? arena_array(a, count + 1, sizeof(*sorted)) : NULL;
	if (sorted == NULL) {
		return e == ERR_OK ? ERR_MEMORY : e;
	}
	if (count > 0) {
		memcpy(sorted, t.by_date, count * sizeof(*sorted));
		qsort_r(sorted, count, sizeof(*sorted), compare_subjects, &t);
	}
	for (size_t i = 0; i < count; i++) {
		bool same =
		    i > 0 && bytes_equal(messages[sorted[i]].subject, messages[sorted[i - 1]].subject);
		uint32_t before = i > 0 ? sorted[i - 1] : NONE;
		t.parent[sorted[i]] = !same ? NONE : t.parent[before] == NONE ? before : t.parent[before];
		if (!same) {
			t.roots[t.root_count++] = sorted[i];
		}
	}
	hang_children(&t);
	qsort_r(t.roots, t.root_count, sizeof(*t.roots), compare_roots, &t);
	return give(&t, ret);
}

void
imap_thread_write(struct imap_writer *w, const struct imap_threads *t, uint32_t root, uint32_t *stack)
{
	size_t open = 0;
	uint32_t at = root;
	imap_write_text(w, "(");
	stack[open++] = at;
	while (open > 0 && w->error == ERR_OK) {
		const struct imap_thread_node *node = &t->nodes[at];
		if (node->number != 0) {
			imap_write_number(w, node->number);
		}
		uint32_t child = node->first;
		if (child != NONE) {
			bool several = t->nodes[child].next != NONE;
			imap_write_text(w, node->number != 0 ? (several ? " (" : " ") : "(");
			if (several) {
				stack[open++] = child;
			}
			at = child;
			continue;
		}
		/* The end of a branch: its sibling, or that of the branch it hangs on. */
		while (open > 0) {
			uint32_t begun = stack[--open];
			imap_write_text(w, ")");
			if (open > 0 && t->nodes[begun].next != NONE) {
				at = t->nodes[begun].next;
				imap_write_text(w, "(");
				stack[open++] = at;
				break;
			}
		}
	}
}

bool
imap_thread_normal_id(struct bytes id, struct buf *out)
{
	if (id.len < 5 || id.ptr[0] != '<' || id.ptr[id.len - 1] != '>') {
		return false;
	}
	ptrdiff_t at = bytes_find_last(id, '@');
	if (at < 2 || (size_t)at + 2 >= id.len) {
		return false;
	}
	struct bytes local = bytes_slice(id, 1, (size_t)at - 1);
	enum err e = buf_append_byte(out, '<');
	bool quoted = local.len >= 2 && local.ptr[0] == '"' && local.ptr[local.len - 1] == '"';
	for (size_t i = quoted ? 1 : 0; e == ERR_OK && i < local.len - (quoted ? 1 : 0); i++) {
		i += quoted && local.ptr[i] == '\\' && i + 2 < local.len ? 1 : 0;
		e = buf_append_byte(out, local.ptr[i]);
	}
	return e == ERR_OK && buf_append(out, bytes_from(id, (size_t)at)) == ERR_OK;
}
