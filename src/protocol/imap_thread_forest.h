/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROTOCOL_IMAP_THREAD_FOREST_H
#define COHUE_PROTOCOL_IMAP_THREAD_FOREST_H

#include "base/arena.h"

/*
 * Trees whose nodes are numbered: a parent given and taken, and the root of any node found, in logarithmic time
 * however deep they are (link-cut trees: paths kept as splay trees). No recursion.
 */

#define FOREST_NONE UINT32_MAX

struct forest {
	uint32_t *parent; /* in the tree itself */
	/* Splay trees of paths, by depth; `up` of such a tree's top is the node that the path hangs on. */
	uint32_t *left;
	uint32_t *right;
	uint32_t *up;
};

/* Nodes 0 .. count - 1, none with a parent; in the arena. ERR_MEMORY. */
COHUE_MUST_USE enum err forest_init(struct forest *f, struct arena *a, size_t count);
uint32_t forest_parent(const struct forest *f, uint32_t node);
uint32_t forest_root(struct forest *f, uint32_t node);
/* node has no parent, and is not the root of parent's tree. */
void forest_link(struct forest *f, uint32_t node, uint32_t parent);
/* node has a parent. */
void forest_cut(struct forest *f, uint32_t node);

#endif
