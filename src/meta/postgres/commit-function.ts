/** The function that commits a group, as the first layout has it. */
import { SQLSTATE_BEHIND, SQLSTATE_FORGOTTEN, SQLSTATE_REPLACED } from "./errors.ts";

/** Outcomes are kept for at least this many revisions. */
export const OUTCOMES_KEPT = 200_000;

/** Commits trimmed from the history at once. */
const TRIM = 1000;

/**
 * `commit_group(store, token, known, keep, commits)` checks and applies commits in order, in the transaction it is called
 * in, and returns one result each: its revision, or the keys that were not as expected.
 *
 * store    the identity of the store that is meant
 * token    names the group; a group whose token has an outcome already fails on the unique key
 * known    a revision that the sender has seen
 * keep     number of latest commits that stay in the history
 * commits  `[{"e": [[key, version], …], "p": [[key, value], …], "d": [key, …]}, …]`
 *
 * The lock on the row of the revision is held until the transaction's end: revisions become visible in their own
 * order, and every statement after it sees all commits before this group (READ COMMITTED: a snapshot each).
 */
export const COMMIT_GROUP = `
CREATE FUNCTION holdfast.commit_group(store uuid, token uuid, known bigint, keep bigint, commits jsonb)
RETURNS jsonb LANGUAGE plpgsql AS $function$
#variable_conflict use_variable
DECLARE
  before holdfast.state;
  latest bigint;
  trimmed bigint;
  one jsonb;
  failed jsonb;
  gone jsonb;
  results jsonb[] := '{}';
BEGIN
  SELECT * INTO STRICT before FROM holdfast.state s FOR UPDATE;
  IF store <> before.identity THEN
    RAISE EXCEPTION 'the store is another one' USING ERRCODE = '${SQLSTATE_REPLACED}';
  END IF;
  latest := before.revision;
  IF known > latest THEN
    RAISE EXCEPTION 'the metadata database shows revision %, but % has been committed', latest, known
      USING ERRCODE = '${SQLSTATE_BEHIND}', HINT = latest::text;
  END IF;
  IF known < latest - ${OUTCOMES_KEPT} THEN
    RAISE EXCEPTION 'the sender has not seen a revision for long'
      USING ERRCODE = '${SQLSTATE_FORGOTTEN}', HINT = latest::text;
  END IF;
  FOR one IN SELECT c.value FROM jsonb_array_elements(commits) c LOOP
    IF one ? 'e' THEN
      SELECT jsonb_agg(e.value -> 0) INTO failed FROM jsonb_array_elements(one -> 'e') e
        LEFT JOIN holdfast.entries x ON x.key = e.value ->> 0
        WHERE coalesce(x.version, 0) <> (e.value ->> 1)::bigint;
      IF failed IS NOT NULL THEN
        results := array_append(results, failed);
        CONTINUE;
      END IF;
    END IF;
    gone := NULL;
    IF one ? 'd' THEN
      WITH deleted AS (
        DELETE FROM holdfast.entries x
          WHERE x.key = ANY (ARRAY(SELECT jsonb_array_elements_text(one -> 'd'))) RETURNING x.key
      ) SELECT jsonb_agg(jsonb_build_array(d.key, NULL)) INTO gone FROM deleted d;
    END IF;
    IF gone IS NOT NULL OR one ? 'p' THEN
      latest := latest + 1;
      IF one ? 'p' THEN
        INSERT INTO holdfast.entries AS x (key, value, version)
          SELECT p.value ->> 0, p.value ->> 1, latest FROM jsonb_array_elements(one -> 'p') p
          ON CONFLICT ON CONSTRAINT entries_pkey
          DO UPDATE SET value = excluded.value, version = excluded.version;
      END IF;
      INSERT INTO holdfast.changes (revision, entries)
        VALUES (latest, coalesce(one -> 'p', '[]') || coalesce(gone, '[]'));
    END IF;
    results := array_append(results, to_jsonb(latest));
  END LOOP;
  IF latest > before.revision THEN
    INSERT INTO holdfast.outcomes VALUES (token, latest, to_jsonb(results));
    trimmed := least(latest - keep, coalesce(before.released, latest));
    IF trimmed < before.compacted + ${TRIM} THEN
      trimmed := before.compacted;
    ELSE
      trimmed := least(trimmed, before.compacted + ${4 * TRIM});
      DELETE FROM holdfast.changes c WHERE c.revision > before.compacted AND c.revision <= trimmed;
      DELETE FROM holdfast.outcomes o WHERE o.revision < latest - ${OUTCOMES_KEPT};
    END IF;
    UPDATE holdfast.state s SET revision = latest, compacted = trimmed;
    PERFORM pg_notify('holdfast', latest::text);
  END IF;
  RETURN to_jsonb(results);
END
$function$`;
