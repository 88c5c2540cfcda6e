/*
 * Where the server may be, one place after another, as libpq itself goes through them while it waits for a connection. Whoever
 * connects without waiting must do that by himself: a host that is silent never fails.
 */
#include "queue/queue_postgres.h"

#include "base/checked.h"

#include <libpq-fe.h>
#include <netdb.h>
#include <string.h>

#define DEFAULT_PORT "5432"

char *pg_option(const PGconn *conn, const char *name)
{
	PQconninfoOption *options = PQconninfo((PGconn *)conn);
	char *value = NULL;

	for (const PQconninfoOption *o = options; o && o->keyword; o++) {
		if (strcmp(o->keyword, name) == 0 && o->val && o->val[0])
			value = xstrdup(o->val);
	}
	PQconninfoFree(options);
	return value;
}

void pg_places_release(struct pg_places *places)
{
	for (size_t i = 0; i < places->count; i++) {
		free(places->items[i].host);
		free(places->items[i].address);
		free(places->items[i].port);
	}
	free(places->items);
	*places = (struct pg_places){NULL, 0, 0};
}

static void add(struct pg_places *places, const char *host, const char *address, const char *port)
{
	ARRAY_GROW(places->items, places->count, places->capacity);
	places->items[places->count++] =
	    (struct pg_place){.host = xstrdup(host),
			      .address = address ? xstrdup(address) : NULL,
			      .port = xstrdup(port)};
}

/* The @i-th of a list with commas, to be freed; NULL: there are fewer, or it is empty. */
static char *nth(const char *list, size_t i)
{
	for (; list && i > 0; i--) {
		list = strchr(list, ',');
		list += list != NULL;
	}
	return list && *list && *list != ',' ? xasprintf("%.*s", (int)strcspn(list, ","), list)
					     : NULL;
}

/* A name that cannot be resolved now is left to libpq, which says so. */
static void add_addresses(struct pg_places *places, const char *host, const char *port)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	char address[NI_MAXHOST];

	if (getaddrinfo(host, NULL, &hints, &found) != 0) {
		add(places, host, NULL, port);
		return;
	}
	for (const struct addrinfo *a = found; a; a = a->ai_next) {
		if (getnameinfo(a->ai_addr, a->ai_addrlen, address, sizeof(address), NULL, 0,
				NI_NUMERICHOST) == 0)
			add(places, host, address, port);
	}
	freeaddrinfo(found);
}

void pg_places_of(const PGconn *conn, struct pg_places *places)
{
	cleanup_free char *hosts = pg_option(conn, "host"),
			  *addresses = pg_option(conn, "hostaddr"),
			  *ports = pg_option(conn, "port");
	const char *list = addresses ? addresses : hosts;
	bool one_port = !ports || !strchr(ports, ',');

	for (size_t i = 0; list; i++) {
		cleanup_free char *host = nth(hosts, i), *address = nth(addresses, i),
				  *own_port = nth(ports, one_port ? 0 : i);
		const char *port = own_port ? own_port : DEFAULT_PORT;

		if (host && !address && host[0] != '/' && host[0] != '@')
			add_addresses(places, host, port);
		else if (host || address)
			add(places, host ? host : address, address, port);
		list = strchr(list, ',');
		list += list != NULL;
	}
}
