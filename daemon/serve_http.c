/*
 * What libmicrohttpd calls, in the order in which it does for one request: on_uri, on_request with the headers, with each
 * piece of the body, and at its end; here an encode is suspended, and on_request comes once more when the desk has answered;
 * then on_end. All calls of one connection are one after another; what they share is behind the mutex.
 */
#include "daemon/serve_http_parts.h"

#include "daemon/http_send.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"

#include <signal.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>

enum {
	THREADS = 2,
	IDLE_S = 30, /* without a byte; with some: */
	REQUEST_LINE_S = 60,
	HEADERS_MAX = 32 << 10, /* request line and headers, and libmicrohttpd's own buffers */
	RETRY_AFTER_MAX = 60,
};
#define DRAIN_MAX ((size_t)256 << 20) /* of a body that is not wanted */

/* -- answers ------------------------------------------------------------------------------------- */

/* When what is under way will be done, as far as one can tell. */
static unsigned retry_after(const struct serve_http *h)
{
	double seconds = (double)h->images * h->image_seconds;

	if (seconds >= RETRY_AFTER_MAX)
		return RETRY_AFTER_MAX;
	return seconds < 1 ? 1 : (unsigned)seconds + 1;
}

static enum MHD_Result send_answer(struct serve_request *r)
{
	struct serve_http *h = r->http;
	double seconds = (double)(clock_mono_ns() - r->began) * 1e-9;
	unsigned status = r->answer.status;

	pthread_mutex_lock(&h->mutex);
	if (status == 200 && r->images > 0) {
		double each = seconds / (double)h->images;

		h->image_seconds =
		    h->image_seconds > 0 ? 0.9 * h->image_seconds + 0.1 * each : each;
	}
	if ((status == 503 || status == 429) && r->answer.retry_after == 0)
		r->answer.retry_after = retry_after(h);
	if (r->encodes && h->ready)
		serve_ask_sign(&h->identity, &r->answer);
	if (h->stopping)
		http_answer_header(&r->answer, MHD_HTTP_HEADER_CONNECTION, "close");
	pthread_mutex_unlock(&h->mutex);
	if (r->encodes)
		serve_stats_request(h->stats, status, seconds, r->body_size,
				    status == 200 ? r->answer.body.size : 0);
	serve_clients_stage(&h->clients, r->client, CLIENT_SENDING, r->answer.body.size);
	return http_answer_send(r->connection, &r->answer);
}

/* -- the body ------------------------------------------------------------------------------------ */

static enum MHD_Result take_piece(struct serve_request *r, const char *piece, size_t size)
{
	size_t most = r->stage == REQUEST_BODY ? r->http->options->max_body : DRAIN_MAX;

	r->body_size += size;
	if (r->stage == REQUEST_BODY && r->body_size > most) {
		buffer_release(&r->body);
		serve_request_decide(r, 413, "the body is larger than this server takes");
	} else if (r->stage == REQUEST_BODY) {
		buffer_append(&r->body, piece, size);
	}
	return r->body_size > DRAIN_MAX && r->stage == REQUEST_DECIDED ? MHD_NO : MHD_YES;
}

/* An image goes to its decoder as a file in memory. */
static int make_file(struct serve_request *r, struct error *err)
{
	struct serve_job *job = &r->job;

	job->content = hash128_of(r->body.data, r->body.size);
	job->image = memfd_create("latentd-image", MFD_CLOEXEC);
	if (job->image < 0 || fd_write_all(job->image, r->body.data, r->body.size, err) < 0 ||
	    lseek(job->image, 0, SEEK_SET) < 0)
		return err->code != ERR_NONE ? -1 : error_sys(err, "a file in memory");
	return 0;
}

/* On the loop's thread: the desk has no more to do with it. */
static void on_answered(struct serve_job *job)
{
	struct serve_request *r = (struct serve_request *)job;

	r->stage = REQUEST_ENCODED;
	MHD_resume_connection(r->connection);
}

/* The desk gets it, unless nothing may come to it any more. */
static enum MHD_Result post(struct serve_request *r)
{
	struct serve_http *h = r->http;
	bool ended;

	pthread_mutex_lock(&h->mutex);
	ended = h->ended;
	if (!ended) {
		r->stage = REQUEST_ENCODING;
		r->expected = false; /* the desk's business from now on */
		MHD_suspend_connection(r->connection);
		serve_desk_post(h->desk, &r->job);
	}
	pthread_mutex_unlock(&h->mutex);
	if (!ended)
		return MHD_YES;
	serve_request_decide(r, 503, "the server stops");
	return send_answer(r);
}

static enum MHD_Result begin_encoding(struct serve_request *r)
{
	struct error err = ERROR_INIT;
	int made = serve_ask_check_size(&r->ask, r->body.size, &err);

	if (made == 0)
		made = r->ask.tensor
			   ? serve_tensor_read(&r->ask, r->body.data, &r->job.tensor, &err)
			   : make_file(r, &err);
	buffer_release(&r->body);
	if (made < 0) {
		serve_request_decide_error(r, &err);
		return send_answer(r);
	}
	r->job.n = r->ask.n;
	r->job.decode = r->ask.decode;
	r->job.latent_floats = r->ask.decode ? serve_picture_latent_floats(&r->ask) : 0;
	r->job.width = r->ask.width;
	r->job.height = r->ask.height;
	r->job.client = r->client->fd;
	r->job.deadline = clock_mono_ms() + (int64_t)r->http->options->timeout;
	r->job.answered = on_answered;
	serve_clients_stage(&r->http->clients, r->client, CLIENT_WAITING, 0);
	return post(r);
}

static enum MHD_Result send_encoded(struct serve_request *r)
{
	struct error err = r->job.error;

	if (err.code != ERR_NONE || serve_ask_answer(&r->ask, r->job.latents, &r->answer, &err) < 0)
		serve_request_decide_error(r, &err);
	serve_job_release(&r->job);
	return send_answer(r);
}

/* -- what libmicrohttpd calls -------------------------------------------------------------------- */

static void *on_uri(void *arg, const char *uri, struct MHD_Connection *connection)
{
	struct serve_http *h = arg;
	struct serve_request *r = xcalloc(1, sizeof(*r));
	const union MHD_ConnectionInfo *client =
	    MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	r->http = h;
	r->client = client->socket_context;
	r->connection = connection;
	r->uri = xstrdup(uri);
	r->began = clock_mono_ns();
	r->job.image = -1;
	serve_clients_stage(&h->clients, r->client, CLIENT_RECEIVING, 0);
	return r;
}

static void on_end(void *arg, struct MHD_Connection *connection, void **state,
		   enum MHD_RequestTerminationCode how)
{
	struct serve_http *h = arg;
	struct serve_request *r = *state;

	(void)connection;
	(void)how;
	if (!r)
		return;
	if (r->expected)
		serve_desk_unexpect(h->desk);
	pthread_mutex_lock(&h->mutex);
	h->encodes -= r->images > 0;
	h->images -= r->images;
	h->bytes -= r->bytes;
	pthread_mutex_unlock(&h->mutex);
	serve_clients_stage(&h->clients, r->client, CLIENT_IDLE, 0);
	serve_job_release(&r->job);
	http_answer_release(&r->answer);
	buffer_release(&r->body);
	free(r->uri);
	free(r);
	*state = NULL;
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **context,
			  enum MHD_ConnectionNotificationCode what)
{
	struct serve_http *h = arg;

	if (what == MHD_CONNECTION_NOTIFY_STARTED)
		*context = serve_clients_add(
		    &h->clients,
		    MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)
			->connect_fd);
	else
		serve_clients_remove(&h->clients, *context);
}

/* A refused request whose client has not begun with the body, or would be long at it, is answered at once. */
static bool answers_at_once(const struct serve_request *r)
{
	const char *expect = serve_request_header(r, MHD_HTTP_HEADER_EXPECT);
	size_t size = serve_request_announced(r);

	return r->stage == REQUEST_DECIDED &&
	       ((expect && strcasecmp(expect, "100-continue") == 0 && size > 0) ||
		(size != SIZE_MAX && size > DRAIN_MAX));
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *piece,
				  size_t *piece_size, void **state)
{
	struct serve_request *r = *state;
	size_t size = *piece_size;

	(void)arg, (void)connection, (void)url, (void)version;
	switch (r->stage) {
	case REQUEST_HEADERS:
		serve_request_begin(r, method);
		serve_clients_stage(&r->http->clients, r->client, CLIENT_RECEIVING, r->bytes);
		return answers_at_once(r) ? send_answer(r) : MHD_YES;
	case REQUEST_BODY:
	case REQUEST_DECIDED:
		*piece_size = 0;
		if (size > 0)
			return take_piece(r, piece, size);
		return r->stage == REQUEST_BODY ? begin_encoding(r) : send_answer(r);
	case REQUEST_ENCODING:
		break; /* suspended */
	case REQUEST_ENCODED:
		return send_encoded(r);
	}
	return MHD_YES;
}

/* -- the server ---------------------------------------------------------------------------------- */

static struct MHD_Daemon *start(struct serve_http *h)
{
	const struct MHD_OptionItem tls[] = {{MHD_OPTION_HTTPS_MEM_CERT, 0, h->listen->cert},
					     {MHD_OPTION_HTTPS_MEM_KEY, 0, h->listen->key},
					     {MHD_OPTION_HTTPS_PRIORITIES, 0, (char *)SERVE_TLS},
					     {MHD_OPTION_END, 0, NULL}};
	const struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
	unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC |
			 (h->listen->cert ? MHD_USE_TLS : 0);
	unsigned threads = h->options->connections >= 2 * THREADS ? THREADS : 1;
	sigset_t all, before;
	struct MHD_Daemon *mhd;

	/* Its threads take the mask over: signals are the loop's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	mhd = MHD_start_daemon(
	    flags, 0, NULL, NULL, on_request, h, MHD_OPTION_LISTEN_SOCKET, h->listen->fd,
	    MHD_OPTION_THREAD_POOL_SIZE, threads, MHD_OPTION_CONNECTION_LIMIT,
	    (unsigned)h->options->connections, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADERS_MAX * 2,
	    MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_URI_LOG_CALLBACK, on_uri, h,
	    MHD_OPTION_NOTIFY_COMPLETED, on_end, h, MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,
	    MHD_OPTION_ARRAY, h->listen->cert ? tls : none, MHD_OPTION_END);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return mhd;
}

int serve_http_open(const struct serve_options *options, struct serve_listen *listen,
		    struct serve_desk *desk, struct serve_stats *stats, struct serve_http **out,
		    struct error *err)
{
	struct serve_http *h = xcalloc(1, sizeof(*h));

	h->options = options;
	h->listen = listen;
	h->desk = desk;
	h->stats = stats;
	pthread_mutex_init(&h->mutex, NULL);
	serve_clients_init(&h->clients, REQUEST_LINE_S * 1000);
	h->mhd = start(h);
	if (!h->mhd) {
		listen->fd = -1; /* MHD has closed it */
		serve_http_close(h);
		return error_set(err, ERR_CONFIG, "cannot serve %s%s", listen->address,
				 listen->cert ? ": are the certificate and its key good?" : "");
	}
	*out = h;
	return 0;
}

void serve_http_ready(struct serve_http *h, const struct serve_bounds *bounds,
		      const struct serve_identity *identity, char *model)
{
	pthread_mutex_lock(&h->mutex);
	h->ready = true;
	h->bounds = *bounds;
	h->identity = *identity;
	free(h->model);
	h->model = model;
	pthread_mutex_unlock(&h->mutex);
}

void serve_http_not_ready(struct serve_http *h, const char *why)
{
	pthread_mutex_lock(&h->mutex);
	h->ready = false;
	free(h->why_not);
	h->why_not = why ? xstrdup(why) : NULL;
	pthread_mutex_unlock(&h->mutex);
}

void serve_http_tick(struct serve_http *h)
{
	serve_clients_check(&h->clients, clock_mono_ms());
}

void serve_http_stop(struct serve_http *h)
{
	pthread_mutex_lock(&h->mutex);
	h->stopping = true;
	pthread_mutex_unlock(&h->mutex);
	MHD_quiesce_daemon(h->mhd);
}

void serve_http_end(struct serve_http *h)
{
	pthread_mutex_lock(&h->mutex);
	h->ended = true;
	pthread_mutex_unlock(&h->mutex);
}

size_t serve_http_encodes(struct serve_http *h)
{
	size_t n;

	pthread_mutex_lock(&h->mutex);
	n = h->encodes;
	pthread_mutex_unlock(&h->mutex);
	return n;
}

size_t serve_http_connections(struct serve_http *h)
{
	return serve_clients_count(&h->clients);
}

void serve_http_close(struct serve_http *h)
{
	if (!h)
		return;
	if (h->mhd) {
		MHD_quiesce_daemon(h->mhd); /* else it would close the socket too */
		MHD_stop_daemon(h->mhd);
	}
	serve_clients_release(&h->clients);
	pthread_mutex_destroy(&h->mutex);
	free(h->why_not);
	free(h->model);
	free(h);
}
