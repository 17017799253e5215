#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Starts a real Kubernetes of one node on this machine, without a registry: etcd, the control plane, containerd, kubelet, kube-proxy
# and CoreDNS as processes that listen on 127.0.0.1 and on ADDRESS alone. What an earlier one left is cleared away first.
set -euo pipefail
cd "$(dirname "$0")"
. ./settings.sh
need_root
./down.sh
mkdir -p "$RUN"/{log,cni}
mkdir -m 700 "$RUN/certs"
cd "$RUN"

# What the kubelet and kube-proxy change of this machine; down.sh puts it back.
sysctl -e vm.overcommit_memory kernel.panic kernel.panic_on_oops net.ipv4.ip_forward >sysctl.before
sysctl -q -w net.ipv4.ip_forward=1
ip addr replace "$ADDRESS/32" dev lo
ip route replace "$SERVICES" dev lo src "$ADDRESS" # service addresses never leave this machine, also before kube-proxy is up
for direction in -s -d; do iptables -I FORWARD 1 $direction "$PODS" -j ACCEPT; done # Docker lets nothing through otherwise

# --- who is who -------------------------------------------------------------------------------------------------------

authority() { openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/CN=$1" -keyout "certs/$1.key" -out "certs/$1.crt" 2>/dev/null; }
certificate() { # name authority subject extension
  openssl req -newkey rsa:2048 -nodes -subj "$3" -keyout "certs/$1.key" -out "certs/$1.csr" 2>/dev/null
  openssl x509 -req -in "certs/$1.csr" -CA "certs/$2.crt" -CAkey "certs/$2.key" -CAcreateserial -days 30 \
    -out "certs/$1.crt" -extfile <(echo "$4") 2>/dev/null
}
authority nodes
authority front
openssl genrsa -out certs/accounts.key 2048 2>/dev/null
certificate api nodes /CN=kube-apiserver "subjectAltName=IP:127.0.0.1,IP:$ADDRESS,IP:10.96.0.1,DNS:localhost,DNS:kubernetes.default.svc"
certificate kubelet nodes /O=system:masters/CN=apiserver-kubelet-client extendedKeyUsage=clientAuth
certificate proxy front /CN=front-proxy-client extendedKeyUsage=clientAuth
token=$(openssl rand -hex 32)
echo "$token,admin,admin,\"system:masters\"" >certs/tokens.csv
(umask 077 && : >kubeconfig) # it holds the token
cat >kubeconfig <<END
apiVersion: v1
kind: Config
clusters: [{name: local, cluster: {server: "https://$ADDRESS:16443", certificate-authority: $RUN/certs/nodes.crt}}]
users: [{name: admin, user: {token: $token}}]
contexts: [{name: local, context: {cluster: local, user: admin}}]
current-context: local
END

# --- the processes ----------------------------------------------------------------------------------------------------

start() { # program argument...
  setsid nohup "$@" >"log/$1.log" 2>&1 </dev/null 9>&- &
  echo $! >"$1.pid"
}
until_true() { # what seconds command...
  local what=$1 deadline=$((SECONDS + $2))
  shift 2
  until "$@" >/dev/null 2>&1; do
    if [ $SECONDS -ge $deadline ]; then
      tail -n 3 log/*.log >&2
      fail "$what; the logs are in $RUN/log"
    fi
    sleep 0.2
  done
}

cat >containerd.toml <<END
version = 2
root = "$RUN/containerd/root"
state = "$RUN/containerd/state"
[grpc]
  address = "$RUN/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "$RUN/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/local/pause:3"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$RUN/cni"
END
cat >cni/10-bridge.conflist <<END
{"cniVersion": "0.4.0", "name": "cluster", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$RUN/addresses", "ranges": [[{"subnet": "10.244.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
END
start containerd -c "$RUN/containerd.toml"
# Without fsync: a cluster that lives for minutes has nothing to keep.
start etcd --data-dir "$RUN/etcd" --unsafe-no-fsync \
  --listen-client-urls http://127.0.0.1:12379 --advertise-client-urls http://127.0.0.1:12379 \
  --listen-peer-urls http://127.0.0.1:12380 --initial-advertise-peer-urls http://127.0.0.1:12380 \
  --initial-cluster default=http://127.0.0.1:12380
start kube-apiserver --etcd-servers=http://127.0.0.1:12379 --bind-address="$ADDRESS" --advertise-address="$ADDRESS" --secure-port=16443 \
  --tls-cert-file="$RUN/certs/api.crt" --tls-private-key-file="$RUN/certs/api.key" --client-ca-file="$RUN/certs/nodes.crt" \
  --token-auth-file="$RUN/certs/tokens.csv" --kubelet-preferred-address-types=InternalIP \
  --kubelet-client-certificate="$RUN/certs/kubelet.crt" --kubelet-client-key="$RUN/certs/kubelet.key" \
  --requestheader-client-ca-file="$RUN/certs/front.crt" --requestheader-allowed-names=front-proxy-client \
  --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
  --requestheader-extra-headers-prefix=X-Remote-Extra- \
  --proxy-client-cert-file="$RUN/certs/proxy.crt" --proxy-client-key-file="$RUN/certs/proxy.key" \
  --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$RUN/certs/accounts.key" \
  --service-account-signing-key-file="$RUN/certs/accounts.key" \
  --service-cluster-ip-range="$SERVICES" --authorization-mode=Node,RBAC --allow-privileged=false
until_true "the API server does not answer" 60 kubectl get --raw /readyz

identity=(--kubeconfig="$RUN/kubeconfig" --authentication-kubeconfig="$RUN/kubeconfig" --authorization-kubeconfig="$RUN/kubeconfig")
start kube-controller-manager "${identity[@]}" --bind-address=127.0.0.1 --leader-elect=false --root-ca-file="$RUN/certs/nodes.crt" \
  --service-account-private-key-file="$RUN/certs/accounts.key" --use-service-account-credentials=true \
  --cluster-signing-cert-file="$RUN/certs/nodes.crt" --cluster-signing-key-file="$RUN/certs/nodes.key"
start kube-scheduler "${identity[@]}" --bind-address=127.0.0.1 --leader-elect=false
cat >kubelet.yaml <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $ADDRESS
healthzBindAddress: 127.0.0.1
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $RUN/certs/nodes.crt}}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
failSwapOn: false
failCgroupV1: false
enforceNodeAllocatable: []
oomScoreAdj: 0
makeIPTablesUtilChains: false
containerRuntimeEndpoint: unix://$RUN/containerd.sock
podLogsDir: $RUN/podlogs
volumePluginDir: $RUN/volumes
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: 200Mi, nodefs.available: 1Gi, imagefs.available: 1Gi}
clusterDomain: cluster.local
clusterDNS: [$ADDRESS]
resolvConf: /etc/resolv.conf
END
start kubelet --config "$RUN/kubelet.yaml" --kubeconfig "$RUN/kubeconfig" --root-dir "$RUN/kubelet" --cert-dir "$RUN/pki" \
  --hostname-override node --node-ip "$ADDRESS"
start kube-proxy --kubeconfig "$RUN/kubeconfig" --hostname-override node --proxy-mode iptables --cluster-cidr "$PODS" \
  --conntrack-max-per-core 0 --conntrack-tcp-timeout-established 0s --conntrack-tcp-timeout-close-wait 0s \
  --bind-address "$ADDRESS" --healthz-bind-address 127.0.0.1:10256 --metrics-bind-address 127.0.0.1:10249 --nodeport-addresses "$ADDRESS/32"
cat >Corefile <<END
.:53 {
    bind $ADDRESS
    errors
    kubernetes cluster.local in-addr.arpa {
        kubeconfig $RUN/kubeconfig local
        ttl 5
    }
    forward . /etc/resolv.conf
    cache 5
}
END
start coredns -conf "$RUN/Corefile"
until_true "the node does not become ready" 60 kubectl wait --for=condition=Ready node/node --timeout=5s
