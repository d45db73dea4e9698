// `/api/whoami-v2`: the user of the token, and what it permits. The answer has the form that official clients expect
// from huggingface.co.

import { HubRefusal } from "../store/refusal.ts";
import { type HubReply, type HubRequest, json } from "./reply.ts";

/**
 * Answers with the caller.
 * @throws {HubRefusal} 401 without a token
 */
export function whoAmI({ caller }: HubRequest): HubReply {
  if (!caller) throw new HubRefusal(401, "a token is needed to tell who you are; set HF_TOKEN");
  const { user, role } = caller;
  return json({
    type: "user",
    id: user,
    name: user,
    fullname: user,
    email: null,
    emailVerified: false,
    canPay: false,
    isPro: false,
    periodEnd: null,
    avatarUrl: "",
    billingMode: "prepaid",
    orgs: [],
    auth: {
      type: "access_token",
      accessToken: {
        displayName: user,
        role: role === "write" ? "write" : "read",
        createdAt: new Date(0).toISOString(),
      },
    },
  });
}
