/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crowd/plot.h"

#include <math.h>

enum { WIDTH = 760, HEIGHT = 420, LEFT = 70, RIGHT = 190, TOP = 44, BOTTOM = 56, TICKS_MAX = 24 };

/* Told apart by the colour-blind, too (Okabe and Ito); each curve also has its own dashes. */
static const char *const colours[PLOT_SERIES_MAX] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
						     "#56b4e9", "#e69f00", "#8a6d00", "#777777"};
static const char *const dashes[PLOT_SERIES_MAX] = {"none",    "8 4",  "2 3",     "10 3 2 3",
						    "5 2 1 2", "12 4", "4 4 1 4", "1 2"};

struct axis {
	double low;
	double high;
	bool logarithmic;
};

static bool
fits(const struct axis *a, double v)
{
	return isfinite(v) && (!a->logarithmic || v > 0);
}

/* 0 to 1 along the axis. */
static double
place(const struct axis *a, double v)
{
	return a->logarithmic ? log(v / a->low) / log(a->high / a->low) : (v - a->low) / (a->high - a->low);
}

static void
include(struct axis *a, double v)
{
	a->low = v < a->low ? v : a->low;
	a->high = v > a->high ? v : a->high;
}

static void
round_out(struct axis *a)
{
	if (a->logarithmic) {
		a->low = pow(10, floor(log10(a->low) + 1e-9));
		a->high = pow(10, ceil(log10(a->high) - 1e-9));
		a->high = a->high > a->low ? a->high : a->low * 10;
		return;
	}
	a->low = a->low > 0 ? 0 : a->low;
	a->high = a->high > a->low ? a->high : a->low + 1;
}

/* 1, 2 or 5 times a power of ten, for about six steps. */
static double
step_of(const struct axis *a)
{
	double raw = (a->high - a->low) / 6;
	double power = pow(10, floor(log10(raw)));
	double first = raw / power;
	return power * (first <= 1 ? 1 : first <= 2 ? 2 : first <= 5 ? 5 : 10);
}

static size_t
ticks_of(const struct axis *a, double ret[TICKS_MAX])
{
	size_t n = 0;
	if (a->logarithmic) {
		static const double between[] = {1, 2, 5};
		bool many = log10(a->high / a->low) > 3.5;
		for (double p = a->low; p <= a->high * 1.0001 && n < TICKS_MAX; p *= 10) {
			for (size_t i = 0; i < (many ? 1 : 3) && n < TICKS_MAX; i++) {
				if (p * between[i] <= a->high * 1.0001) {
					ret[n++] = p * between[i];
				}
			}
		}
		return n;
	}
	double step = step_of(a);
	for (double v = ceil(a->low / step) * step; v <= a->high + step / 1000 && n < TICKS_MAX; v += step) {
		ret[n++] = fabs(v) < step / 1000 ? 0 : v;
	}
	return n;
}

static enum err
label(struct buf *out, double x, double y, const char *attributes, const char *s)
{
	enum err e = buf_printf(out, "<text x=\"%.1f\" y=\"%.1f\" %s>", x, y, attributes);
	e = e == ERR_OK ? buf_append_xml(out, bytes_str(s)) : e;
	return e == ERR_OK ? buf_append_str(out, "</text>\n") : e;
}

static enum err
number(struct buf *out, double x, double y, const char *anchor, double v, bool percent)
{
	return buf_printf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%.6g%s</text>\n", x, y, anchor,
			  percent ? 100 * v : v, percent ? " %" : "");
}

static double
x_of(const struct axis *a, double v)
{
	return LEFT + place(a, v) * (WIDTH - LEFT - RIGHT);
}

static double
y_of(const struct axis *a, double v)
{
	return HEIGHT - BOTTOM - place(a, v) * (HEIGHT - TOP - BOTTOM);
}

static enum err
grid(const struct plot *p, const struct axis *x, const struct axis *y, struct buf *out)
{
	double ticks[TICKS_MAX];
	enum err e = ERR_OK;
	size_t n = ticks_of(x, ticks);
	for (size_t i = 0; e == ERR_OK && i < n; i++) {
		double at = x_of(x, ticks[i]);
		e = buf_printf(out, "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" class=\"grid\"/>\n",
			       at, TOP, at, HEIGHT - BOTTOM);
		e = e == ERR_OK ? number(out, at, HEIGHT - BOTTOM + 17, "middle", ticks[i], false) : e;
	}
	n = ticks_of(y, ticks);
	for (size_t i = 0; e == ERR_OK && i < n; i++) {
		double at = y_of(y, ticks[i]);
		e = buf_printf(out, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" class=\"grid\"/>\n",
			       LEFT, at, WIDTH - RIGHT, at);
		e = e == ERR_OK ? number(out, LEFT - 6, at + 4, "end", ticks[i], p->percent_y) : e;
	}
	return e;
}

static enum err
curve(const struct plot_series *s, size_t index, const struct axis *x, const struct axis *y, struct buf *out)
{
	bool drawing = false;
	enum err e = buf_printf(out, "<path d=\"");
	for (size_t i = 0; e == ERR_OK && i < s->count; i++) {
		if (!fits(x, s->x[i]) || !fits(y, s->y[i])) {
			drawing = false;
			continue;
		}
		e = buf_printf(out, "%c%.1f %.1f", drawing ? 'L' : 'M', x_of(x, s->x[i]), y_of(y, s->y[i]));
		drawing = true;
	}
	e = e == ERR_OK ? buf_printf(out,
				     "\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\" "
				     "stroke-dasharray=\"%s\"/>\n",
				     colours[index], dashes[index])
			: e;
	for (size_t i = 0; e == ERR_OK && i < s->count; i++) {
		if (fits(x, s->x[i]) && fits(y, s->y[i])) {
			e = buf_printf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.6\" fill=\"%s\"/>\n",
				       x_of(x, s->x[i]), y_of(y, s->y[i]), colours[index]);
		}
	}
	double row = TOP + 12 + 22 * (double)index;
	e = e == ERR_OK
		? buf_printf(out,
			     "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"%s\" "
			     "stroke-width=\"2\" stroke-dasharray=\"%s\"/>\n",
			     WIDTH - RIGHT + 12, row, WIDTH - RIGHT + 40, row, colours[index], dashes[index])
		: e;
	return e == ERR_OK ? label(out, WIDTH - RIGHT + 46, row + 4, "", s->name) : e;
}

static bool
range(const struct plot *p, struct axis *x, struct axis *y)
{
	bool any = false;
	for (size_t i = 0; i < p->series_count; i++) {
		for (size_t k = 0; k < p->series[i].count; k++) {
			double a = p->series[i].x[k];
			double b = p->series[i].y[k];
			if (!fits(x, a) || !fits(y, b)) {
				continue;
			}
			if (!any) {
				x->low = x->high = a;
				y->low = y->high = b;
			}
			include(x, a);
			include(y, b);
			any = true;
		}
	}
	return any;
}

enum err
plot_svg(const struct plot *p, struct buf *out)
{
	struct axis x = {.logarithmic = p->log_x};
	struct axis y = {.logarithmic = p->log_y};
	if (p->series_count > PLOT_SERIES_MAX || !range(p, &x, &y)) {
		return ERR_FORMAT;
	}
	round_out(&x);
	round_out(&y);
	enum err e = buf_printf(out,
				"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
				"font-family=\"sans-serif\" font-size=\"12\">\n"
				"<style>.grid{stroke:#ccc;stroke-width:.6}</style>\n"
				"<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n",
				WIDTH, HEIGHT, WIDTH, HEIGHT);
	e = e == ERR_OK ? grid(p, &x, &y, out) : e;
	e = e == ERR_OK ? label(out, LEFT, 24, "font-size=\"15\" font-weight=\"bold\"", p->title) : e;
	e = e == ERR_OK
		? label(out, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 14, "text-anchor=\"middle\"", p->x_label)
		: e;
	e = e == ERR_OK ? buf_printf(out, "<g transform=\"rotate(-90 16 %d)\">", HEIGHT / 2) : e;
	e = e == ERR_OK ? label(out, 16, HEIGHT / 2.0, "text-anchor=\"middle\"", p->y_label) : e;
	e = e == ERR_OK ? buf_append_str(out, "</g>\n") : e;
	for (size_t i = 0; e == ERR_OK && i < p->series_count; i++) {
		e = curve(&p->series[i], i, &x, &y, out);
	}
	return e == ERR_OK ? buf_append_str(out, "</svg>\n") : e;
}
