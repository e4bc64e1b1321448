"""Facts about this box: ``APPLIANCE_*`` environment variables, above a folder of secrets, above ``appliance.toml``.

What describes a machine stands in its profile; what describes the box stands here. Every setting is listed in
``docs/settings.md``.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from appliance.errors import SettingError

CONFIG_VARIABLE = "APPLIANCE_CONFIG"
SYSTEM_CONFIG = Path("/etc/appliance/appliance.toml")
# A folder of one file a secret, named as the variable would be (appliance_dsn); systemd's LoadCredential= makes one.
SECRETS_VARIABLES = ("APPLIANCE_SECRETS_DIR", "CREDENTIALS_DIRECTORY")

# Minute, hour, day, month, weekday; whether the numbers make sense is for the scheduler to say.
Cron = Annotated[str, Field(pattern=r"^[0-9*/,-]+( [0-9A-Za-z*/,#-]+){4}$")]
Share = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(gt=0)]


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="APPLIANCE_", extra="forbid", frozen=True)

    data_dir: Path = Field(Path(".appliance"), description="Folder of all data: raw, good, bad, archive, models, work.")
    keys_dir: Path | None = Field(
        None, description="Folder of the owner's public keys (*.pub). Default: data_dir/keys."
    )
    signing_key: Path | None = Field(None, description="Private key that signs models. Default: keys_dir/signing.key.")
    profiles_dir: Path | None = Field(
        None, description="Folder of profiles for `--profile NAME`. Default: the shipped ones."
    )
    dsn: SecretStr | None = Field(None, description="PostgreSQL 15 or newer, as postgresql://...; may hold a password.")
    site: str = Field("site", pattern=r"^[A-Za-z0-9_-]{1,40}$", description="Name of this plant, in exports.")
    timezone: str = Field("UTC", description="Plant time for screens and messages; the database keeps UTC.")

    api_host: str = Field("127.0.0.1", description="Address that the API listens on.")
    api_port: int = Field(8000, ge=0, le=65535, description="Port that the API listens on.")
    api_socket: Path | None = Field(None, description="Unix socket for the API, instead of address and port.")
    api_url: str | None = Field(None, description="Where clients find the API. Default: from socket or address.")
    api_token: SecretStr | None = Field(None, description="Token of the scheduled predictions.")
    api_body_mb: Count = Field(64, description="Largest request body in MiB.")
    public_url: str | None = Field(
        None, description="Where people on the LAN find this box; for links in messages. Default: the API's address."
    )
    api_guesses_per_minute: Count = Field(
        10, description="Wrong tokens, and wrong passwords, a minute from one address before 429."
    )
    session_idle_hours: Count = Field(
        12, le=8_760, description="Hours without use after which a person has to sign in again."
    )
    session_days: Count = Field(7, le=3_650, description="Days after which a person has to sign in again in any case.")
    station_days: Count = Field(
        180, le=3_650, description="Days after which a station has to sign in again; it may rest."
    )

    ui_host: str = Field("127.0.0.1", description="Address that the screens listen on.")
    ui_port: int = Field(8501, ge=1, le=65535, description="Port that the screens listen on.")
    ui_url: str | None = Field(
        None,
        pattern=r"^https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._/-]*)?$",
        description="Where people find the screens, with the path that a proxy gives them. Default: from host and port.",
    )
    ui_upload_mb: Count = Field(512, description="Largest file in MiB that a screen takes.")

    settle_seconds: float = Field(2.0, ge=0, le=600, description="Time between the two looks at a new file.")
    file_limit_mb: Count = Field(2048, description="Largest file in MiB that is taken from the drop folder.")
    line_limit_kb: Count = Field(1024, description="Longest line in KiB before a file is refused.")
    batch_rows: Count = Field(100_000, le=1_000_000, description="Rows that are checked at a time.")
    part_rows: Count = Field(100_000, le=1_000_000, description="Good rows in a part, the unit of prediction.")
    chunk_rows: Count = Field(
        8_192, le=1_000_000, description="Rows scored at a time, so that a single check never waits long."
    )
    scoring_threads: Count = Field(2, le=64, description="Threads of ONNX Runtime.")
    part_tries: Count = Field(5, description="Failed tries after which a part is given up.")
    archive_days: int = Field(30, ge=0, description="Days that originals stay in archive/; 0 keeps none.")
    disk_reserve_percent: int = Field(
        10,
        ge=0,
        le=90,
        description="Part of the data folder's disk that is kept free: below it copied data makes way ...",
    )
    disk_reserve_mb: int = Field(
        1024, ge=0, description="... but never more than so many MiB; where nothing may make way, files wait."
    )
    file_tries: Count = Field(5, description="Passes that may break off over a file before it is quarantined.")
    criticality_high: Share = Field(0.5, description="Share of bad rows from which a file is highly critical.")
    criticality_medium: Share = Field(0.2, description="Share of bad rows from which a file is of medium criticality.")

    alarm_needed: Count | None = Field(
        None, description="Rows out of the window that open an alarm. Default: the profile's."
    )
    alarm_window: Count | None = Field(
        None, description="Last rows of a machine that are looked at. Default: the profile's."
    )
    alarm_calm: Count | None = Field(
        None, description="Passing rows in a row that close an alarm. Default: the profile's."
    )
    alarm_cooldown_minutes: float | None = Field(
        None, ge=0, description="Pause before the same machine alarms again. Default: the profile's."
    )

    schedule: Literal["airflow", "other"] = Field(
        "other", description="Who runs the passes: this box's Airflow, whose health is watched then, or something else."
    )
    ingest_cron: Cron = Field("* * * * *", description="When files are taken, as cron says it.")
    predict_cron: Cron = Field("*/2 * * * *", description="When new good data is predicted.")
    maintain_cron: Cron = Field("30 2 * * *", description="When old data is removed, in plant time.")
    ingest_seconds: Count = Field(45, description="A scheduled pass starts no further file after so many seconds.")
    predict_seconds: Count = Field(90, description="A scheduled pass starts no further part after so many seconds.")
    airflow_home: Path | None = Field(None, description="Folder of Airflow. Default: data_dir/airflow.")
    airflow_dsn: SecretStr | None = Field(
        None, description="Airflow's own database. Default: database `airflow` on the server of dsn."
    )
    airflow_host: str = Field("127.0.0.1", description="Address that Airflow's pages listen on.")
    airflow_port: int = Field(8080, ge=1, le=65535, description="Port that Airflow's pages listen on.")
    airflow_fernet_key: SecretStr | None = Field(
        None, description="Encrypts Airflow's connections. Default: made at the first start, in airflow_home/secrets."
    )
    airflow_jwt_secret: SecretStr | None = Field(
        None, description="Signs the tokens of Airflow's own services. Default: made as above."
    )
    airflow_secret_key: SecretStr | None = Field(
        None, description="Signs sessions of Airflow's pages. Default: made as above."
    )

    notify_targets: SecretStr | None = Field(
        None,
        description="Who is told: Apprise URLs, one a line, each for all or after `alarm=`, `quality=`, `box=` for some.",
    )
    notify_files: Literal["high", "medium", "none"] = Field(
        "high", description="Criticality of a file from which people are told."
    )
    notify_per_hour: Count = Field(
        12, description="Messages an hour and target; what exceeds them comes in one message later."
    )

    grafana_url: str | None = Field(
        None,
        pattern=r"^https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._/-]*)?$",
        description="Where a Grafana runs that `alerts drill` asks. Default: none is asked.",
    )
    grafana_login: SecretStr | None = Field(
        None, description="For that: the token of a service account that may view, or user:password."
    )

    s3_bucket: str | None = Field(
        None,
        pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
        description="Bucket that data is copied to; none: nothing leaves the box. See docs/sync.md.",
    )
    s3_prefix: str = Field(
        "", pattern=r"^([A-Za-z0-9_.=-]+/)*$", description="What all keys in the bucket begin with, such as `plants/`."
    )
    s3_endpoint: str | None = Field(
        None,
        pattern=r"^https?://[A-Za-z0-9.:\[\]_-]+/?$",
        description="Address of an S3-compatible store. Default: AWS.",
    )
    s3_region: str | None = Field(
        None, pattern=r"^[a-z0-9-]{1,40}$", description="Region of the bucket. Default: what AWS's own settings say."
    )
    s3_keys: SecretStr | None = Field(
        None,
        description="Access key and secret key with a colon between them. Default: the role of the instance, or AWS's own settings.",
    )
    s3_kms_key: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9:/_-]{1,2048}$",
        description="Key in KMS (id, ARN or alias/...) that objects are encrypted with. Default: what the bucket says.",
    )
    s3_ca_file: Path | None = Field(
        None, description="Certificates (PEM) that the store is checked against. Default: those that the system trusts."
    )
    s3_part_mb: Count = Field(8, ge=5, le=1_024, description="Files above so many MiB go in parts of that size.")
    s3_kib_per_second: Count | None = Field(
        None, description="Bandwidth of copying, in KiB a second. Default: no limit."
    )
    s3_hours: str | None = Field(
        None,
        pattern=r"^([01]?[0-9]|2[0-3])-([01]?[0-9]|2[0-4])$",
        description="Hours of plant time in which is copied, such as `22-6`. Default: always.",
    )
    s3_batch_minutes: int = Field(
        60, ge=0, le=1_440, description="Minutes that predictions are gathered before they go as one file."
    )
    s3_inbox: bool = Field(
        False, description="Bring files from `incoming/<profile>/` of the bucket into the drop folder."
    )

    backup_to: str | None = Field(
        None,
        pattern=r"^(s3|/.+)$",
        description="Where backups go: a folder, or `s3` for the bucket; none: there are none. See docs/backup.md.",
    )
    backup_mount: Path | None = Field(
        None, description="For a folder on a USB disk or a share: where it must be mounted before anything is written."
    )
    backup_recipient: str | None = Field(
        None,
        pattern=r"^(age1[a-z0-9]{50,90}|ssh-(ed25519|rsa) [A-Za-z0-9+/=]+( .*)?)$",
        description="The owner's public key (age or SSH) that secrets are encrypted to; none: backups are without secrets.",
    )
    backup_days: int = Field(7, ge=0, le=3_650, description="Of so many days the newest backup stays ...")
    backup_weeks: int = Field(4, ge=0, le=520, description="... of so many weeks ...")
    backup_months: int = Field(6, ge=0, le=120, description="... and of so many months; the last good one always does.")

    prediction_days: Count = Field(730, description="Days that predictions stay, by whole months.")
    record_days: Count = Field(
        400, description="Days that events, closed messages, counts for drift and arrivals without rows stay."
    )
    run_days: Count = Field(30, description="Days that runs of the schedule and figures of the box stay.")
    log_days: Count = Field(14, description="Days that logs of tasks stay.")

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"{value!r} is no time zone; one looks like Europe/Berlin") from None
        return value

    @property
    def raw(self) -> Path:
        return self.data_dir / "raw_data"

    @property
    def good(self) -> Path:
        return self.data_dir / "good_data"

    @property
    def bad(self) -> Path:
        return self.data_dir / "bad_data"

    @property
    def archive(self) -> Path:
        return self.data_dir / "archive"

    @property
    def models(self) -> Path:
        return self.data_dir / "models"

    @property
    def work(self) -> Path:
        return self.data_dir / "work"

    @property
    def outbox(self) -> Path:
        """What was made for the bucket and waits for it, and the key that signs the box's manifests."""
        return self.data_dir / "outbox"

    @property
    def backups(self) -> Path:
        """Where backups are put together before they go elsewhere, and brought back to be looked at."""
        return self.data_dir / "backup"

    @property
    def uploads(self) -> Path:
        """Files that people have checked over the API, for some hours."""
        return self.data_dir / "uploads"

    @property
    def keys(self) -> Path:
        return self.keys_dir or self.data_dir / "keys"

    @property
    def private_key(self) -> Path:
        return self.signing_key or self.keys / "signing.key"

    @property
    def airflow(self) -> Path:
        return (self.airflow_home or self.data_dir / "airflow").absolute()

    @property
    def reachable_url(self) -> str:
        """Where a person opens a page of this box."""
        return (self.public_url or self.base_url).rstrip("/")

    @property
    def screens_url(self) -> str:
        """Where a person opens the screens."""
        return (self.ui_url or f"http://{self.ui_host}:{self.ui_port}").rstrip("/")

    @property
    def base_url(self) -> str:
        return self.api_url or f"http://{self.api_host}:{self.api_port}"

    def require_dsn(self) -> str:
        if self.dsn is None:
            raise SettingError(
                "No database is set.",
                "Set dsn in appliance.toml or APPLIANCE_DSN, or try everything on this machine with `appliance demo`.",
            )
        return self.dsn.get_secret_value()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        path = config_path()
        toml = (TomlConfigSettingsSource(settings_cls, toml_file=path),) if path else ()
        folder = secrets_folder()
        secret = (SecretsSettingsSource(settings_cls, secrets_dir=folder),) if folder else ()
        return (init_settings, env_settings, *secret, *toml)


def secrets_folder() -> Path | None:
    """The folder of secrets that the environment names; SettingError where it is none."""
    for variable in SECRETS_VARIABLES:
        if named := os.environ.get(variable):
            if not Path(named).is_dir():
                raise SettingError(f"{variable} names {named}, which is no folder.", "Mend the path or unset it.")
            return Path(named)
    return None


def config_path() -> Path | None:
    """The settings file in force: the one that the environment names, else the system's where it exists."""
    named = os.environ.get(CONFIG_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise SettingError(f"{CONFIG_VARIABLE} names {named}, which is no file.", "Mend the path or unset it.")
        return Path(named)
    return SYSTEM_CONFIG if SYSTEM_CONFIG.is_file() else None


def load(**overrides: Any) -> Settings:
    """The settings in force; a wrong one is refused with its name and the reason, never with its value's secret."""
    try:
        return Settings(**overrides)
    except tomllib.TOMLDecodeError as error:
        raise SettingError(f"{config_path()} is no TOML: {error}.", "Mend the file.") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(str(step) for step in first["loc"])
        if first["type"] == "extra_forbidden":
            raise SettingError(f"There is no setting {name!r}.", "docs/settings.md lists them all.") from None
        reason = first["msg"].removeprefix("Value error, ")
        raise SettingError(f"Setting {name!r}: {reason}.", "docs/settings.md says what it may be.") from None
