/*
 * Keys that the machine gives to what runs on it: the container's service (ECS, EKS Pod Identity) and the metadata service (IMDSv2).
 */
#ifndef LATENTD_NET_S3_MACHINE_H
#define LATENTD_NET_S3_MACHINE_H

#include "net/s3_issued.h"

#define S3_MACHINE_NONE 1

/* 0: keys; S3_MACHINE_NONE: there is no such service here. ERR_TRANSIENT: it does not answer. ERR_CONFIG, ERR_DATA: it refuses. */
int s3_machine_container(struct s3_issued *out, struct error *err);
int s3_machine_metadata(struct s3_issued *out, struct error *err);

#endif
