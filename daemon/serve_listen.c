#include "daemon/serve_listen.h"

#include "base/buffer.h"
#include "base/checked.h"
#include "base/files.h"
#include "base/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

enum { BACKLOG = 512, TOKEN_MAX = 4096, PEM_MAX = 1 << 20 };

/* -- the address --------------------------------------------------------------------------------- */

/* "HOST:PORT", which config/serve_options.c has checked: to be freed, *port points into it. */
static char *split_address(const char *listen, const char **port)
{
	char *host = xstrdup(*listen == '[' ? listen + 1 : listen);
	char *colon = strrchr(host, ':');

	*port = colon + 1;
	*colon = '\0';
	if (*listen == '[')
		colon[-1] = '\0';
	return host;
}

static bool is_loopback(const struct sockaddr *a)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)a;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)a;

	return a->sa_family == AF_INET ? ntohl(v4->sin_addr.s_addr) >> 24 == 127
				       : IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

/* The address that @fd really has: the port may have been 0. */
static void name_address(int fd, char out[SERVE_ADDRESS_SIZE])
{
	struct sockaddr_storage a;
	socklen_t size = sizeof(a);
	char host[INET6_ADDRSTRLEN] = "", port[8] = "";

	if (getsockname(fd, (struct sockaddr *)&a, &size) == 0)
		getnameinfo((struct sockaddr *)&a, size, host, sizeof(host), port, sizeof(port),
			    NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(out, SERVE_ADDRESS_SIZE, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

static int bind_socket(const struct addrinfo *a, const char *listen_at, struct error *err)
{
	cleanup_close int fd =
	    socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
	int on = 1;

	if (fd < 0)
		return error_sys(err, "socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
		return error_sys(err, "listen at %s", listen_at);
	return TAKE_FD(fd);
}

static int open_socket(const struct serve_options *o, struct serve_listen *l, struct error *err)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				       .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	struct addrinfo *found = NULL;
	const char *port = NULL;
	cleanup_free char *host = split_address(o->listen, &port);
	char quoted[TEXT_QUOTE_SIZE];
	int r = getaddrinfo(host, port, &hints, &found);

	if (r != 0)
		return error_set(err, ERR_CONFIG, "listen: %s: %s", text_quote(host, quoted),
				 gai_strerror(r));
	l->loopback = is_loopback(found->ai_addr);
	if (!l->loopback && !l->has_token && !o->allow_anyone)
		r = error_set(err, ERR_CONFIG,
			      "listen: other machines reach %s: expected a token file, or that "
			      "anyone is allowed (allow-anyone)",
			      o->listen);
	else
		r = l->fd = bind_socket(found, o->listen, err);
	freeaddrinfo(found);
	if (r < 0)
		return -1;
	name_address(l->fd, l->address);
	return 0;
}

/* -- the token ----------------------------------------------------------------------------------- */

/* @n bytes of @data in base64. To be freed. */
static char *base64(const char *data, size_t n)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *text = xcalloc((n + 2) / 3 * 4 + 1, 1), *out = text;

	for (size_t i = 0; i < n; i += 3) {
		uint32_t bits = 0;

		for (size_t k = 0; k < 3; k++)
			bits = bits << 8 | (i + k < n ? (unsigned char)data[i + k] : 0);
		for (size_t k = 0; k < 4; k++)
			*out++ = i + k > n ? '=' : digits[bits >> (18 - 6 * k) & 63];
	}
	return text;
}

/* Keeps hashes of what who has the token may send. */
static void keep_token(struct serve_listen *l, const char *token, size_t n)
{
	cleanup_free char *pair = xasprintf(SERVE_USER ":%.*s", (int)n, token);
	cleanup_free char *sent = base64(pair, strlen(pair));

	l->token = sha256_of(token, n);
	l->basic = sha256_of(sent, strlen(sent));
	l->has_token = true;
	explicit_bzero(pair, strlen(pair));
	explicit_bzero(sent, strlen(sent));
}

/* The first line without blanks around it. */
static int read_token(const char *path, struct serve_listen *l, struct error *err)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	char quoted[TEXT_QUOTE_SIZE];
	struct error failed = ERROR_INIT;
	const char *token;
	size_t n;

	if (file_read_all(path, TOKEN_MAX, &text, &failed) < 0)
		return error_set(err, ERR_CONFIG, "token file: %s", failed.message);
	token = text.data ? (const char *)text.data : "";
	token += strspn(token, " \t\r\n");
	n = strcspn(token, " \t\r\n");
	if (n == 0 || token[n + strspn(token + n, " \t\r\n")] != '\0')
		return error_set(err, ERR_CONFIG, "token file %s: expected one word",
				 text_quote(path, quoted));
	keep_token(l, token, n);
	explicit_bzero(text.data, text.size);
	return 0;
}

/* @authorization is @scheme and what has the hash @wanted. */
static bool is_given(const char *authorization, const char *scheme, const struct sha256 *wanted)
{
	struct sha256 tried;
	unsigned differ = 0;
	size_t n = strlen(scheme);

	if (!authorization || strncasecmp(authorization, scheme, n) != 0 || authorization[n] != ' ')
		return false;
	authorization += n + strspn(authorization + n, " ");
	tried = sha256_of(authorization, strlen(authorization));
	for (size_t i = 0; i < sizeof(tried.bytes); i++)
		differ |= (unsigned)(tried.bytes[i] ^ wanted->bytes[i]);
	return differ == 0;
}

bool serve_listen_admits(const struct serve_listen *l, const char *authorization)
{
	return !l->has_token || is_given(authorization, "Bearer", &l->token);
}

bool serve_listen_admits_reader(const struct serve_listen *l, const char *authorization)
{
	return serve_listen_admits(l, authorization) || is_given(authorization, "Basic", &l->basic);
}

/* -- TLS ----------------------------------------------------------------------------------------- */

static int read_pem(const char *path, char **out, struct error *err)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	struct error failed = ERROR_INIT;

	if (file_read_all(path, PEM_MAX, &text, &failed) < 0)
		return error_set(err, ERR_CONFIG, "%s", failed.message);
	*out = xstrdup(text.data ? (const char *)text.data : "");
	return 0;
}

static int read_tls(const struct serve_options *o, struct serve_listen *l, struct error *err)
{
	if (MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES)
		return error_set(err, ERR_CONFIG,
				 "tls_cert: this libmicrohttpd is built without TLS: put a proxy "
				 "in front");
	if (read_pem(o->tls_cert, &l->cert, err) < 0)
		return -1;
	return read_pem(o->tls_key, &l->key, err);
}

int serve_listen_open(const struct serve_options *o, struct serve_listen *out, struct error *err)
{
	struct serve_listen l = SERVE_LISTEN_INIT;

	if ((o->token_file && read_token(o->token_file, &l, err) < 0) ||
	    (o->tls_cert && read_tls(o, &l, err) < 0) || open_socket(o, &l, err) < 0) {
		serve_listen_close(&l);
		return -1;
	}
	*out = l;
	return 0;
}

void serve_listen_close(struct serve_listen *l)
{
	if (l->fd >= 0)
		close(l->fd);
	if (l->key)
		explicit_bzero(l->key, strlen(l->key));
	free(l->cert);
	free(l->key);
	*l = (struct serve_listen)SERVE_LISTEN_INIT;
}
