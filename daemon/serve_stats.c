#include "daemon/serve_stats.h"

#include "base/checked.h"

static const double second_bounds[SERVE_STATS_SECONDS - 1] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
							      0.5,   1,	   2.5,	  10,	60};
static const double batch_bounds[SERVE_STATS_BATCHES - 1] = {1, 2, 4, 8, 16, 32, 64, 128};

void serve_stats_init(struct serve_stats *s)
{
	*s = (struct serve_stats){.images = 0};
	pthread_mutex_init(&s->mutex, NULL);
}

void serve_stats_release(struct serve_stats *s)
{
	pthread_mutex_destroy(&s->mutex);
}

static void observe(struct serve_histogram *h, const double *bounds, size_t n, double value)
{
	size_t i = 0;

	while (i < n - 1 && value > bounds[i])
		i++;
	h->buckets[i]++;
	h->sum += value;
}

void serve_stats_request(struct serve_stats *s, unsigned status, double seconds, size_t bytes_in,
			 size_t bytes_out)
{
	size_t i = 0;

	pthread_mutex_lock(&s->mutex);
	while (i < SERVE_STATS_STATUSES - 1 && s->requests[i].status != 0 &&
	       s->requests[i].status != status)
		i++;
	s->requests[i].status = status;
	s->requests[i].n++;
	if (status == 200)
		observe(&s->seconds, second_bounds, SERVE_STATS_SECONDS, seconds);
	s->bytes_in += bytes_in;
	s->bytes_out += bytes_out;
	pthread_mutex_unlock(&s->mutex);
}

void serve_stats_batch(struct serve_stats *s, size_t images, size_t failed)
{
	pthread_mutex_lock(&s->mutex);
	observe(&s->batches, batch_bounds, SERVE_STATS_BATCHES, (double)images);
	s->images += images - failed;
	s->images_failed += failed;
	pthread_mutex_unlock(&s->mutex);
}

struct serve_sums serve_stats_sums(struct serve_stats *s)
{
	struct serve_sums sums = {0, 0, 0};

	pthread_mutex_lock(&s->mutex);
	for (size_t i = 0; i < SERVE_STATS_STATUSES && s->requests[i].status != 0; i++) {
		sums.requests += s->requests[i].n;
		sums.refused += s->requests[i].status != 200 ? s->requests[i].n : 0;
	}
	sums.images = s->images;
	pthread_mutex_unlock(&s->mutex);
	return sums;
}

/* -- text ---------------------------------------------------------------------------------------- */

#define METRIC "latentd_serve_"

static void head(struct buffer *out, const char *name, const char *type, const char *help)
{
	buffer_appendf(out, "# HELP " METRIC "%s %s\n# TYPE " METRIC "%s %s\n", name, help, name,
		       type);
}

static void number(struct buffer *out, const char *name, const char *type, const char *help,
		   uint64_t value)
{
	head(out, name, type, help);
	buffer_appendf(out, METRIC "%s %llu\n", name, (unsigned long long)value);
}

static void histogram(struct buffer *out, const char *name, const char *help,
		      const struct serve_histogram *h, const double *bounds, size_t n)
{
	unsigned long long sum = 0;

	head(out, name, "histogram", help);
	for (size_t i = 0; i < n; i++) {
		sum += h->buckets[i];
		if (i < n - 1)
			buffer_appendf(out, METRIC "%s_bucket{le=\"%g\"} %llu\n", name, bounds[i],
				       sum);
		else
			buffer_appendf(out, METRIC "%s_bucket{le=\"+Inf\"} %llu\n", name, sum);
	}
	buffer_appendf(out, METRIC "%s_sum %.9g\n" METRIC "%s_count %llu\n", name, h->sum, name,
		       sum);
}

void serve_stats_text(struct serve_stats *s, const struct serve_gauges *now, struct buffer *out)
{
	pthread_mutex_lock(&s->mutex);
	head(out, "requests_total", "counter",
	     "Requests to encode or decode, by the status of their answer.");
	for (size_t i = 0; i < SERVE_STATS_STATUSES && s->requests[i].status != 0; i++)
		buffer_appendf(out, METRIC "requests_total{status=\"%u\"} %llu\n",
			       s->requests[i].status, (unsigned long long)s->requests[i].n);
	histogram(out, "request_seconds",
		  "From the headers to the answer, of those that were not refused.", &s->seconds,
		  second_bounds, SERVE_STATS_SECONDS);
	histogram(out, "batch_images", "Images that were encoded or decoded together.", &s->batches,
		  batch_bounds, SERVE_STATS_BATCHES);
	number(out, "images_total", "counter", "Images encoded or decoded.", s->images);
	number(out, "images_failed_total", "counter",
	       "Images that could not be encoded or decoded.", s->images_failed);
	number(out, "received_bytes_total", "counter", "Bytes of bodies.", s->bytes_in);
	number(out, "sent_bytes_total", "counter", "Bytes of answers.", s->bytes_out);
	pthread_mutex_unlock(&s->mutex);
	number(out, "queue_images", "gauge", "Images under way.", now->images);
	number(out, "queue_bytes", "gauge", "Memory of requests under way.", now->bytes);
	number(out, "connections", "gauge", "Clients that are connected.", now->connections);
	number(out, "ready", "gauge", "1: the model is loaded.", now->ready);
}
