#include "daemon/serve_clients.h"

#include "base/checked.h"
#include "base/clock.h"

#include <poll.h>
#include <sys/socket.h>

enum {
	TRANSFER_MS = 30 * 1000, /* and, beyond that: */
	BYTES_PER_MS = 100,	 /* 100 kB/s are little even for a modem of our days */
};

void serve_clients_init(struct serve_clients *c, int64_t idle_ms)
{
	*c = (struct serve_clients){.idle_ms = idle_ms};
	pthread_mutex_init(&c->mutex, NULL);
}

void serve_clients_release(struct serve_clients *c)
{
	pthread_mutex_destroy(&c->mutex);
}

struct serve_client *serve_clients_add(struct serve_clients *c, int fd)
{
	struct serve_client *client = xcalloc(1, sizeof(*client));

	client->fd = fd;
	client->until = clock_mono_ms() + c->idle_ms;
	pthread_mutex_lock(&c->mutex);
	client->next = c->first;
	if (c->first)
		c->first->before = client;
	c->first = client;
	c->n++;
	pthread_mutex_unlock(&c->mutex);
	return client;
}

void serve_clients_remove(struct serve_clients *c, struct serve_client *client)
{
	pthread_mutex_lock(&c->mutex);
	if (client->before)
		client->before->next = client->next;
	else
		c->first = client->next;
	if (client->next)
		client->next->before = client->before;
	c->n--;
	pthread_mutex_unlock(&c->mutex);
	free(client);
}

static int64_t time_for(const struct serve_clients *c, enum serve_client_stage stage, size_t bytes)
{
	switch (stage) {
	case CLIENT_IDLE:
		return c->idle_ms;
	case CLIENT_RECEIVING:
	case CLIENT_SENDING:
		return TRANSFER_MS + (int64_t)(bytes / BYTES_PER_MS);
	case CLIENT_WAITING:
		break;
	}
	return INT64_MAX / 2;
}

void serve_clients_stage(struct serve_clients *c, struct serve_client *client,
			 enum serve_client_stage stage, size_t bytes)
{
	pthread_mutex_lock(&c->mutex);
	client->stage = stage;
	client->until = clock_mono_ms() + time_for(c, stage, bytes);
	client->hung_up = false;
	pthread_mutex_unlock(&c->mutex);
}

/* What it had sent before may not have been read yet: that has time until the next look. */
static bool is_gone(struct serve_client *client)
{
	struct pollfd p = {.fd = client->fd, .events = POLLRDHUP};
	bool before = client->hung_up;

	client->hung_up = client->stage <= CLIENT_RECEIVING && poll(&p, 1, 0) == 1;
	return before && client->hung_up;
}

void serve_clients_check(struct serve_clients *c, int64_t now)
{
	pthread_mutex_lock(&c->mutex);
	for (struct serve_client *client = c->first; client; client = client->next) {
		if (now >= client->until || is_gone(client))
			shutdown(client->fd, SHUT_RDWR);
	}
	pthread_mutex_unlock(&c->mutex);
}

size_t serve_clients_count(struct serve_clients *c)
{
	size_t n;

	pthread_mutex_lock(&c->mutex);
	n = c->n;
	pthread_mutex_unlock(&c->mutex);
	return n;
}
