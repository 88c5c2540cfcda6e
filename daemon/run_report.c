#include "daemon/run_report.h"

#include "daemon/commands.h"
#include "daemon/outcome_log.h"

#include "base/text.h"

#include <stdio.h>

enum { MESSAGES_MAX = 20 };

void run_report_note(struct run_report *report, const char *line)
{
	if (report->progress)
		progress_message(report->progress, "latentctl: %s", line);
	else
		fprintf(stderr, "latentctl: %s\n", line);
}

void run_report_waits(struct run_report *report, const char *why)
{
	if (!report->put_off)
		progress_message(report->progress, "latentctl: images wait for a server: %s", why);
	report->put_off = true;
}

void run_report_outcome(struct run_report *report, const char *path, enum outcome_kind kind,
			const char *reason, const char *message)
{
	char quoted[TEXT_QUOTE_SIZE];

	if (outcome_waits(kind, reason)) {
		run_report_waits(report, message);
		return;
	}
	if (kind == OUTCOME_RETRY)
		return;
	if (kind == OUTCOME_SKIP) {
		progress_skipped(report->progress);
		return;
	}
	if (kind == OUTCOME_GONE)
		progress_gone(report->progress);
	else
		progress_failed(report->progress);
	report->messages++;
	if (report->messages <= MESSAGES_MAX)
		progress_message(report->progress, "latentctl: %s: %s: %s",
				 text_quote(path, quoted), reason, message);
	if (report->messages == MESSAGES_MAX + 1)
		progress_message(report->progress,
				 "latentctl: further failures are listed by `latentctl failed`");
}

static void print_count(uint64_t n, const char *what)
{
	if (n > 0)
		printf("%llu image%s %s\n", (unsigned long long)n, plural(n), what);
}

void run_report_result(const struct run_result *r)
{
	const struct queue_counts *c = r->queue;
	char size[24];

	printf("%s/%s: %llu sample%s in %llu shard%s (%zu new), %s\n", r->output, r->name,
	       (unsigned long long)c->samples, plural(c->samples), (unsigned long long)c->shards,
	       plural(c->shards), r->new_shards, text_bytes(c->shard_bytes, size));
	print_count(r->pipeline->copied, "copied: the same content was encoded before");
	print_count(r->pipeline->again, "encoded again: the files had changed");
	print_count(r->pipeline->kept,
		    "kept: read again, their content is the one that was encoded");
	print_count(r->vanished, "no longer there whose samples stay (--on-delete remove takes "
				 "them out)");
	print_count(c->jobs[JOB_ENCODED], "encoded, without a shard yet: kept in the spool");
	print_count(r->left, "left: run the same command again");
	print_count(r->left_out, "of other source folders left for a run that names them");
	print_count(c->jobs[JOB_GONE], "no longer there");
	print_count(c->jobs[JOB_SKIPPED],
		    "skipped on purpose (latentctl failed --skipped lists them)");
	print_count(c->jobs[JOB_QUARANTINED], "could not be encoded (latentctl failed lists them)");
}
