/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_thread_forest.h"

#define NONE FOREST_NONE

enum err
forest_init(struct forest *f, struct arena *a, size_t count)
{
	f->parent = arena_array(a, count + 1, sizeof(uint32_t));
	f->left = arena_array(a, count + 1, sizeof(uint32_t));
	f->right = arena_array(a, count + 1, sizeof(uint32_t));
	f->up = arena_array(a, count + 1, sizeof(uint32_t));
	if (f->parent == NULL || f->left == NULL || f->right == NULL || f->up == NULL) {
		return ERR_MEMORY;
	}
	for (size_t i = 0; i < count; i++) {
		f->parent[i] = f->left[i] = f->right[i] = f->up[i] = NONE;
	}
	return ERR_OK;
}

uint32_t
forest_parent(const struct forest *f, uint32_t node)
{
	return f->parent[node];
}

/* The top of a path's splay tree. */
static bool
is_top(const struct forest *f, uint32_t node)
{
	uint32_t up = f->up[node];
	return up == NONE || (f->left[up] != node && f->right[up] != node);
}

static void
rotate(struct forest *f, uint32_t node)
{
	uint32_t up = f->up[node];
	uint32_t over = f->up[up];
	if (!is_top(f, up)) {
		if (f->left[over] == up) {
			f->left[over] = node;
		} else {
			f->right[over] = node;
		}
	}
	uint32_t moved;
	if (f->left[up] == node) {
		moved = f->left[up] = f->right[node];
		f->right[node] = up;
	} else {
		moved = f->right[up] = f->left[node];
		f->left[node] = up;
	}
	if (moved != NONE) {
		f->up[moved] = up;
	}
	f->up[up] = node;
	f->up[node] = over;
}

static void
splay(struct forest *f, uint32_t node)
{
	while (!is_top(f, node)) {
		uint32_t up = f->up[node];
		if (!is_top(f, up)) {
			uint32_t over = f->up[up];
			rotate(f, (f->left[over] == up) == (f->left[up] == node) ? up : node);
		}
		rotate(f, node);
	}
}

/* Makes the way from the root to the node one path, and the node its top. */
static void
expose(struct forest *f, uint32_t node)
{
	uint32_t below = NONE;
	for (uint32_t at = node; at != NONE; at = f->up[at]) {
		splay(f, at);
		f->right[at] = below;
		below = at;
	}
	splay(f, node);
}

uint32_t
forest_root(struct forest *f, uint32_t node)
{
	expose(f, node);
	while (f->left[node] != NONE) {
		node = f->left[node];
	}
	splay(f, node); /* this is what pays for the way */
	return node;
}

void
forest_link(struct forest *f, uint32_t node, uint32_t parent)
{
	expose(f, node);
	f->up[node] = parent;
	f->parent[node] = parent;
}

void
forest_cut(struct forest *f, uint32_t node)
{
	expose(f, node);
	f->up[f->left[node]] = NONE;
	f->left[node] = NONE;
	f->parent[node] = NONE;
}
