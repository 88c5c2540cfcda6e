/*
 * Which addresses belong to everybody, for lists of URLs that somebody else wrote: they must not make this machine ask servers
 * that only it can reach.
 */
#ifndef LATENTD_NET_HTTP_ADDRESS_H
#define LATENTD_NET_HTTP_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

/*
 * False: this machine (127/8, ::1, 0/8), a network of its own (10/8, 172.16/12, 192.168/16, 100.64/10, fc00::/7), a link
 * (169.254/16 with the metadata services of clouds, fe80::/10), multicast, reserved, or no IP address at all. IPv6 that
 * carries an IPv4 address (mapped, NAT64, 6to4) counts as that.
 */
bool http_address_is_public(const struct sockaddr *address);

/* The environment names a proxy for @url, as libcurl looks for it. Hosts in no_proxy count nonetheless, but not its "*". */
bool http_address_has_proxy(const char *url);

#endif
