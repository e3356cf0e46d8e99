"""The two products' documented calls with Python's requests: only host and secrets are variables. `documented_requests.py
NAME` makes one and prints status, headers and body as JSON."""

import json
import os
import sys

import requests

API = os.environ["API"]


def projects():
    headers = {
        'Authorization': f'Bearer {os.environ["MIGMA_API_KEY"]}'
    }

    response = requests.get(
        f'{API}/v1/projects',
        headers=headers
    )
    return response


def list_agents():
    response = requests.post(
        f'{API}/functions/v1/list-agents',
        headers={
            'Authorization': f'Bearer {os.environ["MAGPIPE_API_KEY"]}',
            'Content-Type': 'application/json',
        },
        json={}
    )
    return response


def register():
    body = {"type": "service_auth", "login_hint": "user@example.com", "agent_name": "Claude", "scope": "audience:read campaign:read email:send"}
    return requests.post(f"{API}/agent/identity", json=body)


def token():
    body = {"grant_type": "urn:workos:agent-auth:grant-type:claim", "claim_token": os.environ["CLAIM_TOKEN"]}
    return requests.post(f"{API}/oauth2/token", json=body)


def password():
    body = {"email": os.environ["EMAIL"], "password": os.environ["PASSWORD"]}
    return requests.post(f"{API}/auth/v1/token?grant_type=password", headers={"apikey": os.environ["ANON_KEY"]}, json=body)


def refresh():
    body = {"refresh_token": os.environ["REFRESH_TOKEN"]}
    return requests.post(f"{API}/auth/v1/token?grant_type=refresh_token", headers={"apikey": os.environ["ANON_KEY"]}, json=body)


answer = globals()[sys.argv[1]]()
headers = {name.lower(): value for name, value in answer.headers.items()}
print(json.dumps({"status": answer.status_code, "headers": headers, "body": answer.json()}))
