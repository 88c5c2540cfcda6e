/*
 * IANA's special-purpose registries (RFC 6890 and what came since), as far as something could listen there.
 */
#include "net/http_address.h"

#include "base/buffer.h"
#include "base/checked.h"
#include "net/http_url.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static bool is_public_4(uint32_t a)
{
	static const struct {
		uint32_t net;
		unsigned bits;
	} others[] = {
	    {0x00000000, 8},  /* this network */
	    {0x0a000000, 8},  /* private */
	    {0x64400000, 10}, /* carriers */
	    {0x7f000000, 8},  /* loopback */
	    {0xa9fe0000, 16}, /* link */
	    {0xac100000, 12}, /* private */
	    {0xc0000000, 24}, /* protocol assignments */
	    {0xc0a80000, 16}, /* private */
	    {0xc6120000, 15}, /* benchmarks */
	    {0xe0000000, 3},  /* multicast, reserved, broadcast */
	};

	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		if (((a ^ others[i].net) >> (32 - others[i].bits)) == 0)
			return false;
	}
	return true;
}

static bool is_public_6(const uint8_t a[16])
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	static const uint8_t nat64[12] = {0, 0x64, 0xff, 0x9b};
	static const uint8_t to4[2] = {0x20, 0x02};

	if (memcmp(a, mapped, sizeof(mapped)) == 0 || memcmp(a, nat64, sizeof(nat64)) == 0)
		return is_public_4(get_u32be(a + 12));
	if (memcmp(a, to4, sizeof(to4)) == 0)
		return is_public_4(get_u32be(a + 2));
	return (a[0] & 0xe0) == 0x20; /* 2000::/3, what is given out to everybody */
}

bool http_address_is_public(const struct sockaddr *address)
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;

	if (address->sa_family == AF_INET) {
		memcpy(&v4, address, sizeof(v4));
		return is_public_4(ntohl(v4.sin_addr.s_addr));
	}
	if (address->sa_family != AF_INET6)
		return false;
	memcpy(&v6, address, sizeof(v6));
	return is_public_6(v6.sin6_addr.s6_addr);
}

static bool is_set(const char *name)
{
	const char *value = getenv(name);

	return value && value[0];
}

bool http_address_has_proxy(const char *url)
{
	const char *none = getenv(is_set("no_proxy") ? "no_proxy" : "NO_PROXY");

	if (none && strcmp(none, "*") == 0)
		return false;
	if (http_url_is_https(url) ? is_set("https_proxy") || is_set("HTTPS_PROXY")
				   : is_set("http_proxy"))
		return true;
	return is_set("all_proxy") || is_set("ALL_PROXY");
}
