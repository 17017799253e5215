#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# KAFKA_LOG_DIRS=/data becomes log.dirs=/data; then the folder is formatted, once, and Kafka runs.
set -euo pipefail
properties=/tmp/server.properties
while IFS='=' read -r name value; do
  case $name in
    KAFKA_HEAP_OPTS) ;; # of Java, not of Kafka
    KAFKA_*) name=${name#KAFKA_} name=${name//_/.}; printf '%s=%s\n' "${name,,}" "$value" ;;
  esac
done < <(env) >"$properties"
java=(/opt/java/bin/java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData --sun-misc-unsafe-memory-access=allow
  --enable-native-access=ALL-UNNAMED -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp '/opt/kafka/libs/*')
"${java[@]}" kafka.tools.StorageTool format --ignore-formatted --cluster-id "${CLUSTER_ID:-4L6g3nShT-eMCtK--X86sw}" \
  --config "$properties" >/dev/null
# shellcheck disable=SC2086 # the options of Java are words
exec "${java[@]}" ${KAFKA_HEAP_OPTS:--Xmx512m} kafka.Kafka "$properties"
