"""Holds manifests to Kubernetes' schemas, to each other, and to the options of the program: tools/check-manifests.sh runs it.

    check_manifests.py DIR [--imesli IMESLI] [--kubernetes 1.30]

- Every file is YAML, without a key twice in a mapping.
- Every object of Kubernetes itself fits its schema, with no field that the schema does not have.
- A ScaledObject, which is not Kubernetes' own, fits the fields that KEDA's documentation names (ScaledObject specification,
  and the scalers "NATS JetStream" and "CPU", of KEDA 2.19).
- Where there is kubectl, what `kubectl kustomize` makes of each folder fits the schemas, too: patches have their effect there.
- What is named is there: volumes, ports, secrets, claims, files of a kustomization, what a selector wants to find.
- A pod is given more time to end than its program takes.
- With --imesli: every option in the arguments is one of the program, or of the command that it is given to.

Prints what is wrong, and exits with 1; else a line for each file.
"""
import argparse, pathlib, re, shutil, subprocess, sys

import yaml

import kubernetes_validate

# What is no manifest: parsed and no more.
OTHER = {"nats-values.yaml"}
SCALED_OBJECT = {
    "scaleTargetRef": {"apiVersion", "kind", "name", "envSourceContainerName"},
    "pollingInterval": None, "cooldownPeriod": None, "initialCooldownPeriod": None, "idleReplicaCount": None,
    "minReplicaCount": None, "maxReplicaCount": None, "fallback": None,
    "advanced": {"restoreToOriginalReplicaCount", "horizontalPodAutoscalerConfig", "scalingModifiers"},
    "triggers": None,
}
TRIGGER = {"type", "metadata", "name", "useCachedMetrics", "authenticationRef", "metricType"}
# type: (fields of its metadata, those of them that have to be there)
SCALERS = {
    "nats-jetstream": (
        {"natsServerMonitoringEndpoint", "account", "stream", "consumer", "lagThreshold", "activationLagThreshold",
         "useHttps"},
        {"natsServerMonitoringEndpoint", "account", "stream", "consumer"},
    ),
    "cpu": ({"value", "containerName"}, {"value"}),
}


class Strict(yaml.SafeLoader):
    """YAML in which no key comes twice."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} comes twice", node.start_mark)
        return super().construct_mapping(node, deep)


class Check:
    def __init__(self, folder, kubernetes, imesli):
        self.folder, self.kubernetes, self.imesli = folder, kubernetes, imesli
        self.wrong, self.options, self.objects = [], {}, []  # objects: (file, object, is a patch)

    def complain(self, path, what):
        self.wrong.append(f"{path.relative_to(self.folder)}: {what}")

    def read(self):
        for path in sorted(self.folder.rglob("*.yaml")):
            try:
                documents = [document for document in yaml.load_all(path.read_text(), Strict) if document]
            except yaml.YAMLError as error:
                self.complain(path, " ".join(str(error).split()))
                continue
            if not documents:
                self.complain(path, "nothing is in it")
            if path.name in OTHER:
                print(f"{path.relative_to(self.folder)}: YAML; not Kubernetes', its fields are not checked")
                continue
            kustomization = path.parent / "kustomization.yaml"
            patches = yaml.safe_load(kustomization.read_text()).get("patches", []) if kustomization.exists() else []
            is_patch = any(patch.get("path") == path.name for patch in patches)
            self.objects += [(path, document, is_patch) for document in documents]

    def of_kind(self, kind):
        return [(path, each) for path, each, is_patch in self.objects if each.get("kind") == kind and not is_patch]

    def check(self):
        self.read()
        for path, each, is_patch in self.objects:
            kind = each.get("kind")
            if kind == "Kustomization":
                self.kustomization(path, each)
            elif kind == "ScaledObject":
                print(f"{path.relative_to(self.folder)}: ScaledObject: by KEDA's documentation, not by a schema")
                self.scaled_object(path, each)
            elif is_patch:
                print(f"{path.relative_to(self.folder)}: {kind}: a patch; options alone are checked")
            else:
                self.schema(path, each)
            for container in containers(each):
                self.arguments(path, container)
        for path, each in self.of_kind("Deployment"):
            self.deployment(path, each)
        for path, each in self.of_kind("Service"):
            self.service(path, each)
        for path, each in self.of_kind("PodDisruptionBudget"):
            self.selects(path, each, each["spec"]["selector"]["matchLabels"])
        for path, each in self.of_kind("NetworkPolicy"):
            labels = each["spec"]["podSelector"].get("matchLabels", {})
            if labels.get("app.kubernetes.io/name") == "imesli":
                self.selects(path, each, labels)
        self.built()

    def schema(self, path, each):
        name = f"{each.get('kind')} {each.get('metadata', {}).get('name')}"
        try:
            kubernetes_validate.validate(each, self.kubernetes, strict=True)
            print(f"{path.relative_to(self.folder)}: {name}: as Kubernetes {self.kubernetes} has it")
        except kubernetes_validate.ValidationError as error:
            self.complain(path, f"{name}: {'.'.join(map(str, error.path))}: {error.message}")
        except Exception as error:  # no such kind, no such version
            self.complain(path, f"{name}: {type(error).__name__}: {error}")

    def built(self):
        """What the kustomizations come to."""
        if not shutil.which("kubectl"):
            print("SKIPPED: what the kustomizations come to: there is no kubectl", file=sys.stderr)
            return
        for path, _ in self.of_kind("Kustomization"):
            made = subprocess.run(["kubectl", "kustomize", path.parent], capture_output=True, text=True)
            if made.returncode:
                self.complain(path, made.stderr.strip())
                continue
            for each in yaml.load_all(made.stdout, Strict):
                self.schema(path, each)
                if each["kind"] == "Deployment":
                    if not matches(each["spec"]["selector"]["matchLabels"], each["spec"]["template"]["metadata"]["labels"]):
                        self.complain(path, f"{each['metadata']['name']}: the selector does not find the pods")
                    for container in containers(each):
                        self.arguments(path, container)

    def kustomization(self, path, each):
        for resource in each.get("resources", []):
            target = path.parent / resource
            if not (target.is_file() or (target / "kustomization.yaml").is_file()):
                self.complain(path, f"there is no {resource}")
        for patch in each.get("patches", []):
            if "path" in patch and not (path.parent / patch["path"]).is_file():
                self.complain(path, f"there is no {patch['path']}")

    def scaled_object(self, path, each):
        spec = each.get("spec", {})
        for field, value in spec.items():
            if field not in SCALED_OBJECT:
                self.complain(path, f"a ScaledObject has no spec.{field}")
            elif SCALED_OBJECT[field]:
                for inner in set(value) - SCALED_OBJECT[field]:
                    self.complain(path, f"a ScaledObject has no spec.{field}.{inner}")
        target = spec.get("scaleTargetRef", {}).get("name")
        if target not in {each["metadata"]["name"] for _, each in self.of_kind("Deployment")}:
            self.complain(path, f"there is no Deployment {target}")
        for trigger in spec.get("triggers", []):
            for field in set(trigger) - TRIGGER:
                self.complain(path, f"a trigger has no {field}")
            if trigger.get("type") not in SCALERS:
                self.complain(path, f"the trigger {trigger.get('type')} is not known here")
                continue
            known, wanted = SCALERS[trigger["type"]]
            metadata = trigger.get("metadata", {})
            for field in set(metadata) - known:
                self.complain(path, f"{trigger['type']} has no {field}")
            for field in wanted - set(metadata):
                self.complain(path, f"{trigger['type']} lacks {field}")
            for field, value in metadata.items():
                if not isinstance(value, str):
                    self.complain(path, f"{trigger['type']}: {field} has to be text, in quotation marks")

    def deployment(self, path, each):
        template = each["spec"]["template"]
        if not matches(each["spec"]["selector"]["matchLabels"], template["metadata"]["labels"]):
            self.complain(path, "the selector does not find the pods")
        pod = template["spec"]
        volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
        secrets = {each["metadata"]["name"] for _, each in self.of_kind("Secret")}
        claims = {each["metadata"]["name"] for _, each in self.of_kind("PersistentVolumeClaim")}
        for volume in volumes.values():
            secret = volume.get("secret", {}).get("secretName")
            if secret and secret not in secrets:
                self.complain(path, f"there is no secret {secret}")
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            if claim and claim not in claims:
                self.complain(path, f"there is no claim {claim}")
        for container in containers(each):
            mounts = container.get("volumeMounts", [])
            for name in {mount["name"] for mount in mounts} - set(volumes):
                self.complain(path, f"there is no volume {name}")
            ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                port = container.get(probe, {}).get("httpGet", {}).get("port")
                if isinstance(port, str) and port not in ports:
                    self.complain(path, f"{probe}: there is no port {port}")
            arguments = dict(argument[2:].split("=", 1) for argument in container.get("args", []) if "=" in argument)
            for option in ("port", "metrics-listen", "health-listen"):
                if option in arguments and int(arguments[option].rsplit(":", 1)[-1]) not in ports.values():
                    self.complain(path, f"--{option}={arguments[option]} is none of the ports")
            for option, value in arguments.items():
                if value.startswith("/") and not any(pathlib.PurePath(value).is_relative_to(mount["mountPath"]) for mount in mounts):
                    self.complain(path, f"--{option}={value} lies in no volume")
            pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            needs = pause + int(arguments.get("shutdown-timeout", 30))
            if pod.get("terminationGracePeriodSeconds", 30) <= needs:
                self.complain(path, f"terminationGracePeriodSeconds has to be above {needs}")

    def service(self, path, each):
        self.selects(path, each, each["spec"]["selector"])
        ports = {port["name"] for _, deployment in self.of_kind("Deployment") for container in containers(deployment)
                 for port in container.get("ports", [])}
        for port in each["spec"]["ports"]:
            if port.get("targetPort") not in ports:
                self.complain(path, f"there is no port {port.get('targetPort')}")

    def selects(self, path, each, selector):
        pods = [each["spec"]["template"]["metadata"]["labels"] for _, each in self.of_kind("Deployment")]
        if not any(matches(selector, labels) for labels in pods):
            self.complain(path, f"{each['kind']} {each['metadata']['name']} selects no pods")

    def arguments(self, path, container):
        arguments = container.get("args", [])
        if not self.imesli or not arguments:
            return
        command = [] if arguments[0].startswith("-") else [arguments[0]]
        known = self.known(tuple(command))
        for argument in arguments[len(command):]:
            option = argument.split("=", 1)[0]
            if option not in known:
                self.complain(path, f"imesli{''.join(' ' + word for word in command)} has no {argument}")

    def known(self, command):
        if command not in self.options:
            help = subprocess.run([self.imesli, *command, "--help"], capture_output=True, text=True)
            if help.returncode:
                sys.exit(f"{' '.join([self.imesli, *command, '--help'])}: {help.stderr.strip()}")
            self.options[command] = set(re.findall(r"^ +(?:-\w, )?(--[a-z0-9-]+)", help.stdout, re.MULTILINE))
        return self.options[command]


def containers(each):
    pod = (((each.get("spec") or {}).get("template") or {}).get("spec") or {}) if each.get("kind") == "Deployment" else {}
    return pod.get("initContainers", []) + pod.get("containers", [])


def matches(selector, labels):
    return all(labels.get(key) == value for key, value in selector.items())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--imesli", help="the program whose options count")
    parser.add_argument("--kubernetes", default="1.30", help="the version whose schemas count")
    arguments = parser.parse_args()
    check = Check(arguments.folder, arguments.kubernetes, arguments.imesli)
    check.check()
    if not arguments.imesli:
        print("SKIPPED: the options in the arguments: no program was named", file=sys.stderr)
    for what in check.wrong:
        print(f"WRONG: {what}", file=sys.stderr)
    print(f"{len(check.objects)} objects, {len(check.wrong)} wrong")
    sys.exit(1 if check.wrong else 0)


if __name__ == "__main__":
    main()
