/*
 * How an exchange over HTTP ended, before anybody looks at the status: for who decides whether to try again.
 */
#ifndef LATENTD_NET_HTTP_RESULT_H
#define LATENTD_NET_HTTP_RESULT_H

enum http_result {
	HTTP_REPLY,	    /* a whole reply came, whatever its status */
	HTTP_NO_NAME,	    /* the server's name has no address; or nobody who knows answers */
	HTTP_NOT_REACHED,   /* no connection: refused, unreachable, proxy */
	HTTP_TIMEOUT,	    /* no connection, or no whole reply, in time */
	HTTP_BROKEN,	    /* the connection ended in the middle */
	HTTP_NO_HTTP,	    /* what came is something else */
	HTTP_WRONG_SCHEME,  /* TLS where http was spoken, or the other way round */
	HTTP_PROXY_REFUSES, /* the proxy makes no connection to there; the status is its */
	HTTP_TOO_LARGE,	    /* the reply is larger than was wanted */
	HTTP_NOT_PUBLIC, /* it leads into this machine or a network of its own, and only_public is set */
	HTTP_UNTRUSTED,	  /* a certificate or TLS itself: trying again changes nothing */
	HTTP_BAD_REQUEST, /* this URL or request cannot be sent by anybody */
};

#endif
