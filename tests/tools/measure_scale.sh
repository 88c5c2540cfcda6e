#!/usr/bin/env bash
# with_postgres.sh measure_scale.sh BENCH [ROWS]: what ROWS (4,000,000) images cost in the tables of the queue, for
# docs/scale.md. BENCH is bench_queue_postgres, which makes the tables. Rows are added as a scan adds them: in batches of
# 4,096, with random ranks and hashes, in four steps of growing size. After each step 40,000 images live their life in
# order of rank, by the changes that the queue makes: claimed and settled in batches of 64, completed in shards of 1,000.
# Prints a line for each step and one for each table and index; LATENTD_TEST_POSTGRES_FSYNC=on, as in earnest.
set -euo pipefail

bench=$1 rows=${2:-4000000} lives=40000
sql()
{
	"$LATENTD_TEST_POSTGRES_BIN/psql" -d "$LATENTD_TEST_POSTGRES" -qAtX -v ON_ERROR_STOP=1 -F ' '
}

"$bench" 64 1 >/dev/null
sql <<'SQL'
TRUNCATE latentd.job, latentd.sample, latentd.shard, latentd.tally;
CREATE PROCEDURE enqueue(count_of bigint) LANGUAGE plpgsql AS $$ BEGIN
 FOR i IN 0 .. count_of / 4096 - 1 LOOP
  INSERT INTO latentd.job (rank, size, mtime_ns, inode, path_print, dataset, root, path)
   SELECT hashint8extended(n, 1) & 9223372036854775807, 400000, 1.7e18, n, hashint8extended(n, 2), 1, 1,
    convert_to(format('photos/%s/%s-of-a-photograph.jpg', lpad((n / 1000)::text, 7, '0'), lpad(n::text, 10, '0')), 'UTF8')
   FROM (SELECT nextval('latentd.fence') AS n FROM generate_series(1, 4096)) AS numbers;
  COMMIT;
 END LOOP; END $$;
CREATE PROCEDURE live(count_of bigint) LANGUAGE plpgsql AS $$
DECLARE ids bigint[]; held bigint[] := '{}'; number bigint;
BEGIN
 FOR i IN 1 .. count_of / 64 LOOP
  WITH ready AS MATERIALIZED (SELECT id FROM latentd.job WHERE dataset = 1 AND state = 1 AND crashes < 3
    ORDER BY rank, id LIMIT 64 FOR UPDATE SKIP LOCKED),
   taken AS (UPDATE latentd.job AS j SET state = 2, attempts = 1, fence = j.id, owner = 1, due = 1, updated_at = i
    FROM ready WHERE j.id = ready.id RETURNING j.id)
  SELECT array_agg(id) INTO ids FROM taken;
  COMMIT;
  UPDATE latentd.job SET state = 3, content = gen_random_uuid(), keeper = 1, owner = NULL, due = NULL WHERE id = ANY(ids);
  COMMIT;
  held := held || ids;
  IF cardinality(held) >= 1000 THEN
   number := nextval('latentd.fence');
   UPDATE latentd.job SET state = 4, keeper = NULL WHERE id = ANY(held);
   INSERT INTO latentd.sample (shard, "offset", bytes, job, variant, dataset, content, latent)
    SELECT number, n * 34816, 34816, id, 0, 1, gen_random_uuid(), gen_random_uuid() FROM unnest(held) WITH ORDINALITY AS h (id, n);
   INSERT INTO latentd.shard (bytes, sealed_at, visible_at, samples, dataset, xxh3, sha256, path, format, grp)
    VALUES (34816000, i, i, 1000, 1, gen_random_uuid(), 'sha', convert_to('train/' || number, 'UTF8'), 'wds', '1024x1024');
   COMMIT;
   held := '{}';
  END IF;
 END LOOP; END $$;
SQL

log_position()
{
	sql <<<"SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
}

# took WHAT N: runs SQL of standard input; time and log for each of N.
took()
{
	local what=$1 n=$2 began ended log
	log=$(log_position) began=$(date +%s%N)
	sql >/dev/null
	ended=$(date +%s%N)
	printf '%s: %d us and %d bytes of log each, %d.%03d s\n' "$what" $(((ended - began) / 1000 / n)) \
		$((($(log_position) - log) / n)) $(((ended - began) / 1000000000)) $(((ended - began) / 1000000 % 1000))
}

had=0
for part in 8 4 2 1; do
	want=$((rows / part))
	took "enqueue up to $want" $((want - had)) <<<"CALL enqueue($((want - had)))"
	had=$want
	sql <<<"CHECKPOINT"
	took "live, of $want, after a checkpoint" $lives <<<"CALL live($lives)"
	took "live, of $want, more of the same" $lives <<<"CALL live($lives)"
	took "vacuum of $want" "$want" <<<"VACUUM latentd.job"
done
sql <<<"SELECT pg_stat_force_next_flush()" >/dev/null 2>&1 || true
sql <<'END'
SELECT 'updates:', n_tup_upd, 'in place (HOT):', n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'job';
SELECT c.relname || ':', pg_relation_size(c.oid), 'bytes,', c.reltuples::bigint, 'entries' FROM pg_class AS c
 JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = 'latentd' AND pg_relation_size(c.oid) > 100000 AND c.relkind IN ('r', 'i') ORDER BY pg_relation_size(c.oid) DESC;
END
