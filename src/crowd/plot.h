/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_CROWD_PLOT_H
#define COHUE_CROWD_PLOT_H

#include "base/bytes.h"

/* Curves as SVG: no script, no font of its own, readable on white and on dark pages, each curve named at the side. */

enum { PLOT_SERIES_MAX = 8 };

struct plot_series {
	const char *name;
	const double *x;
	const double *y; /* NAN: no point there */
	size_t count;
};

struct plot {
	const char *title;
	const char *x_label;
	const char *y_label;
	bool log_x;
	bool log_y;
	bool percent_y; /* y is a share: the axis says per cent */
	struct plot_series series[PLOT_SERIES_MAX];
	size_t series_count;
};

/* Appended. ERR_FORMAT where no series has a point that the axes can show. Texts are escaped. */
COHUE_MUST_USE enum err plot_svg(const struct plot *plot, struct buf *out);

#endif
