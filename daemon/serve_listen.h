/*
 * Where the server listens, and who may come: the address, the token, the certificate. All is read once, at the start.
 */
#ifndef LATENTD_DAEMON_SERVE_LISTEN_H
#define LATENTD_DAEMON_SERVE_LISTEN_H

#include "base/hash.h"
#include "config/serve_options.h"

#define SERVE_ADDRESS_SIZE 80
#define SERVE_USER	   "latentd"
#define SERVE_TLS	   "NORMAL:-VERS-TLS1.0:-VERS-TLS1.1" /* GnuTLS: as clients of ours want it */

struct serve_listen {
	int fd;
	char address
	    [SERVE_ADDRESS_SIZE]; /* as a URL has it, with the port that it got: "127.0.0.1:8188" */
	bool loopback;		  /* only this machine reaches it */
	bool has_token;
	/* Compared as hashes: in the same time for every token that is tried. */
	struct sha256 token, basic;
	char *cert, *key; /* PEM; NULL: plain HTTP */
};

#define SERVE_LISTEN_INIT                                                                          \
	{                                                                                          \
		-1, "", false, false, {{0}}, {{0}}, NULL, NULL                                     \
	}

/*
 * ERR_CONFIG: no such host, an address that other machines reach without a token (unless allow_anyone), a token file that is
 * empty or not there, a certificate that is not there, TLS in a build without it. ERR_IO: the port is taken.
 */
int serve_listen_open(const struct serve_options *options, struct serve_listen *out,
		      struct error *err);
void serve_listen_close(struct serve_listen *l);

/* Whether @authorization, the header of that name or NULL, is "Bearer" and the token. */
bool serve_listen_admits(const struct serve_listen *l, const char *authorization);
/* Or "Basic" with the user SERVE_USER and the token as password, which browsers ask people for by themselves. */
bool serve_listen_admits_reader(const struct serve_listen *l, const char *authorization);

#endif
