#include "daemon/plan_table.h"

#include "daemon/text_lines.h"

#include "base/checked.h"
#include "base/text.h"

#include <string.h>

enum { BAR_MIN = 8, BAR_MAX = 48, NAMES_SHOWN = 3, GROUPS_SHOWN = 5 };

static double percent(uint64_t part, uint64_t whole)
{
	return whole > 0 ? 100.0 * (double)part / (double)whole : 0;
}

/* -- the summary ---------------------------------------------------------------------------------- */

/* As wide as the number of all files, the largest there is. */
static void line(FILE *out, const struct plan *p, uint64_t n, uint64_t whole, const char *what)
{
	char count[28], files[28];

	fprintf(out, "  %*s %5.1f %%  %s\n", (int)strlen(text_count(p->files, files)),
		text_count(n, count), percent(n, whole), what);
}

/* "skipped: too_small 3, upscale 1". A reason is a word of ours, or of a decode process: which may say anything. */
static void reasons(FILE *out, const struct plan *p, const struct plan_reasons *r, const char *what)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	char count[28];

	if (r->files == 0)
		return;
	buffer_appendf(&text, "%s: ", what);
	for (size_t i = 0; i < r->n; i++) {
		if (i > 0)
			buffer_append_string(&text, ", ");
		text_clean(&text, r->list[i].word);
		buffer_appendf(&text, " %s", text_count(r->list[i].files, count));
	}
	line(out, p, r->files, p->files, (const char *)text.data);
}

static void summary(FILE *out, const struct plan *p)
{
	cleanup_buffer struct buffer what = BUFFER_INIT;
	char count[28], size[24], each[48] = "";
	size_t latents = (1 + p->more) * p->resolutions.n;

	fprintf(out, "%s file%s, %s\n", text_count(p->files, count), p->files == 1 ? "" : "s",
		text_bytes(p->bytes, size));
	if (latents > 1)
		snprintf(each, sizeof(each), ", %zu latents of each", latents);
	buffer_appendf(&what, "images to encode%s", each);
	line(out, p, p->images, p->files, (const char *)what.data);
	if (p->enlarged > 0)
		line(out, p, p->enlarged, p->images, "  of them are enlarged");
	if (p->no_caption > 0)
		line(out, p, p->no_caption, p->images, "  of them have no caption");
	reasons(out, p, &p->skipped, "skipped");
	reasons(out, p, &p->unreadable, "unreadable");
}

/* -- the buckets ---------------------------------------------------------------------------------- */

/* Of the longest bar; a bucket that has an image has a mark. */
static void bar(FILE *out, uint64_t n, uint64_t most, size_t cells)
{
	size_t full = most > 0 ? (size_t)((double)cells * (double)n / (double)most + 0.5) : 0;

	if (cells == 0)
		return;
	fputs("  ", out);
	for (size_t i = 0; i < (full > 0 ? full : 1); i++)
		fputc('#', out);
}

static size_t bar_cells(size_t columns, size_t taken)
{
	size_t left = columns > taken + 3 ? columns - taken - 3 : 0;

	return left < BAR_MIN ? 0 : left > BAR_MAX ? BAR_MAX : left;
}

static void bucket_row(FILE *out, const struct plan *p, const struct plan_bucket *b, uint64_t most,
		       size_t columns)
{
	char images[28], batches[28], dropped[28];
	int n = fprintf(out, "  %5zu x %-5zu %9s %6.1f %6.1f %6.2f %6.2f", b->width, b->height,
			text_count(b->images, images), percent(b->images, p->images),
			100 * b->crop_loss, b->upscale, b->max_upscale);

	if (p->batch > 0)
		n += fprintf(out, " %7s %9s", text_count(b->batches, batches),
			     text_count(b->dropped, dropped));
	bar(out, b->images, most, bar_cells(columns, (size_t)n));
	fputc('\n', out);
}

static void buckets(FILE *out, const struct plan *p, size_t columns)
{
	uint64_t most = 0;

	for (size_t i = 0; i < p->n_buckets; i++) {
		if (p->buckets[i].images > most)
			most = p->buckets[i].images;
	}
	fprintf(out, "\n  %-13s %9s %6s %6s %6s %6s", "     bucket", "images", "%", "crop %",
		"scale", "most");
	if (p->batch > 0)
		fprintf(out, " %7s %9s", "batches", "left over");
	fputc('\n', out);
	for (size_t i = 0; i < p->n_buckets; i++) {
		const struct plan_bucket *b = &p->buckets[i];

		if (p->resolutions.n > 1 && (i == 0 || b[-1].resolution != b->resolution))
			fprintf(out, "  resolution %zu\n", plan_resolution(p, b->resolution));
		bucket_row(out, p, b, most, columns);
	}
}

/* -- what follows from them ------------------------------------------------------------------------- */

static void estimates(FILE *out, const struct plan *p)
{
	char count[28], count2[28], size[24], size2[24], time[32];

	fputc('\n', out);
	if (p->batch > 0)
		fprintf(out, "batches   %s full ones of %zu; %s images (%.1f %%) are left over\n",
			text_count(p->batches, count), p->batch, text_count(p->dropped, count2),
			percent(p->dropped, p->images));
	if (p->downscale > 0)
		fprintf(out, "latents   %s as float16 means, %s as moments, before compression%s\n",
			text_bytes(p->latent_bytes, size), text_bytes(2 * p->latent_bytes, size2),
			p->latent_known ? "" : "\n          (without --vae: 4 channels, 1/8)");
	else
		fprintf(out,
			"latents   unknown: the usual VAE takes no sides in multiples of %zu\n",
			bucket_table_multiple(p->resolutions.tables[0]));
	if (p->seconds > 0) {
		fprintf(out, "time      about %s at %g images a second\n",
			text_duration(p->seconds, time), p->rate);
	}
}

/* -- files by name -------------------------------------------------------------------------------- */

static void print_name(FILE *out, const struct plan *p, size_t source, const char *path)
{
	cleanup_free char *name = plan_name(p, source, path);
	char quoted[TEXT_QUOTE_SIZE];

	fputs(text_quote(name, quoted), out);
}

static void duplicates(FILE *out, const struct plan *p, bool list)
{
	const struct plan_duplicates *d = &p->duplicates;
	size_t groups = list || d->n_groups < GROUPS_SHOWN ? d->n_groups : GROUPS_SHOWN;
	char count[28], count2[28], size[24];

	if (!p->hash)
		return;
	fprintf(out, "equal     %s files are copies of %s others: %s\n",
		text_count(d->extra_files, count), text_count(d->n_groups, count2),
		text_bytes(d->extra_bytes, size));
	for (size_t g = 0; g < groups; g++) {
		const struct plan_duplicate *files = &d->files[d->groups[g].first];
		size_t n = d->groups[g].n, shown = list || n < NAMES_SHOWN ? n : NAMES_SHOWN;

		for (size_t i = 0; i < shown; i++) {
			fputs(i == 0 ? "  " : "    = ", out);
			print_name(out, p, files[i].source, plan_duplicates_path(d, &files[i]));
			fputc('\n', out);
		}
		if (shown < n)
			fprintf(out, "    = %s more\n", text_count(n - shown, count));
	}
	if (groups < d->n_groups)
		fprintf(out, "  ... (--list names all)\n");
}

static void known(FILE *out, const struct plan *plan)
{
	const struct plan_known_counts *k = plan->known;
	char count[28], count2[28];

	if (!k)
		return;
	if (k->difference)
		fprintf(out, "known     %s has another recipe, all must be encoded again: %s\n",
			k->dataset, k->difference);
	else if (k->to_encode == 0 && plan->elsewhere == 0)
		fprintf(out, "known     %s has all of the images\n", k->dataset);
	else
		fprintf(out, "known     %s has %s of the images; new by their bytes: %s%s\n",
			k->dataset, text_count(k->encoded, count), text_count(k->to_encode, count2),
			plan->elsewhere > 0 ? "; unknown: what is elsewhere" : "");
}

static void failures(FILE *out, const struct plan *p)
{
	if (p->n_failures == 0)
		return;
	fprintf(out, "\nunreadable\n");
	for (size_t i = 0; i < p->n_failures; i++) {
		const struct plan_failure *f = &p->failures[i];
		cleanup_buffer struct buffer why = BUFFER_INIT;

		text_clean(&why, f->reason);
		buffer_append_string(&why, ": ");
		text_clean(&why, f->message);
		fputs("  ", out);
		print_name(out, p, f->source, f->path);
		fprintf(out, ": %s\n", (const char *)why.data);
	}
	if (p->n_failures < p->unreadable.files)
		fprintf(out, "  ... (--list names all)\n");
}

void plan_table(FILE *out, const struct plan *plan, size_t columns, bool list)
{
	summary(out, plan);
	if (plan->n_buckets > 0)
		buckets(out, plan, columns);
	estimates(out, plan);
	duplicates(out, plan, list);
	known(out, plan);
	failures(out, plan);
}
