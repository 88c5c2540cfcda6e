#include "base/file_system.h"

#include "base/checked.h"

/* Numbers: linux/magic.h and, for those that are not in the kernel, coreutils' stat. */
const char *network_file_system(uint32_t f_type)
{
	static const struct {
		uint32_t magic;
		const char *name;
	} systems[] = {
	    {0x6969, "NFS"},
	    {0x517b, "SMB"},
	    {0xff534d42, "CIFS"},
	    {0xfe534d42, "SMB2"},
	    {0x65735546, "FUSE"},
	    {0x00c36400, "Ceph"},
	    {0x0bd00bd0, "Lustre"},
	    {0x01021997, "9p"},
	    {0x5346414f, "AFS"},
	    {0x6b414653, "AFS"},
	    {0x73757245, "Coda"},
	    {0x47504653, "GPFS"},
	    {0x19830326, "BeeGFS"},
	    {0xaad7aaea, "PanFS"},
	    {0x01161970, "GFS2"},
	    {0x7461636f, "OCFS2"},
	    {0x564c, "NCP"},
	    {0x61636673, "ACFS"},
	    {0xbeefdead, "SNFS"},
	    {0x786f4256, "VirtualBox shared folder"},
	    {0xbacbacbc, "VMware shared folder"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(systems); i++) {
		if (systems[i].magic == f_type)
			return systems[i].name;
	}
	return NULL;
}
