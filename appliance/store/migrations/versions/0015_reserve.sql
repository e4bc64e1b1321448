-- So many ids in a row, never given again, and the clock at that moment. The lock ends with the inner block, which is rolled
-- back: a sequence is not.
CREATE FUNCTION reserve_prediction_ids(many bigint, OUT last bigint, OUT now timestamptz) LANGUAGE plpgsql AS $$
BEGIN
    BEGIN
        PERFORM pg_advisory_xact_lock(7165002);
        last := setval('prediction_id', nextval('prediction_id') + many - 1);
        now := clock_timestamp();
        RAISE EXCEPTION SQLSTATE 'AP001';
    EXCEPTION WHEN SQLSTATE 'AP001' THEN
        NULL;
    END;
END
$$;
